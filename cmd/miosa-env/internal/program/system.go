package program

import (
	"fmt"
	"runtime"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// OnLinux tells whether all of miosa-env is here. Elsewhere it starts commands and manages secrets, and
// nothing of it stays.
const OnLinux = runtime.GOOS == "linux"

// NeedsLinux is that a command or flag isn't for this system. The exit code is 125.
func NeedsLinux(what string) error {
	return cli.WithHint(
		fmt.Errorf("%s needs Linux, and this is %s", what, runtime.GOOS),
		"run, export, get, list, doctor and the commands for a tenant's secrets work here: docs/install.md, \"macOS\"")
}
