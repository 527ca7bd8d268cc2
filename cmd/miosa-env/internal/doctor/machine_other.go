//go:build !linux

package doctor

import (
	"runtime"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
)

// machine checks what this machine offers.
func (f *findings) machine(program.Environment) {
	f.warn("tmpfs", "not looked for on "+runtime.GOOS+": what export writes to a file reaches a disk",
		"nothing, where no file is written; else write it to a disk in memory")
	f.ok("process", "run turns into the command; agent, run --on-change and run --mask need Linux")
}
