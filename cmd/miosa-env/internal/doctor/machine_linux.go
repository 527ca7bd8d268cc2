package doctor

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// machine checks this machine.
func (f *findings) machine(e program.Environment) {
	f.memory(e)
	f.kernel()
	if !inherited.Noted() {
		f.warn("build", "this program was built with "+runtime.Version()+", in which it can't see what it was started with: a command may find signals at their default that were ignored or blocked",
			"build it with the Go release named in go.mod")
	}
	if os.Getpid() == 1 {
		f.ok("process", "this is process 1: run stays, passes signals on and reaps")
	} else {
		f.ok("process", "this isn't process 1: run turns into the command")
	}
}

// memory checks for a directory whose files never reach a disk.
func (f *findings) memory(e program.Environment) {
	folders := program.MemoryFolders(e)
	if i := slices.IndexFunc(folders, program.InMemory); i >= 0 {
		f.ok("tmpfs", folders[i]+" is in memory")
		return
	}
	f.warn("tmpfs", "none of "+strings.Join(folders, ", ")+" is in memory: what export writes to a file reaches a disk",
		"mount a tmpfs on /run")
}

// kernel checks for features of the kernel by using them.
func (f *findings) kernel() {
	var name unix.Utsname
	found := "linux"
	if unix.Uname(&name) == nil {
		found += " " + unix.ByteSliceToString(name.Release[:])
	}
	var has, lacks []string
	note := func(feature string, fd int, err error) {
		if err != nil {
			lacks = append(lacks, feature)
			return
		}
		_ = unix.Close(fd)
		has = append(has, feature)
	}
	fd, err := unix.MemfdSecret(0)
	note("memfd_secret", fd, err)
	fd, err = unix.PidfdOpen(os.Getpid(), 0)
	note("pidfd", fd, err)
	if len(has) > 0 {
		found += " with " + strings.Join(has, ", ")
	}
	if len(lacks) > 0 {
		found += ", without " + strings.Join(lacks, ", ") + " (not needed)"
	}
	f.ok("kernel", found)

	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		f.warn("kernel", "orphans can't be adopted (PR_SET_CHILD_SUBREAPER): those of a command are left to process 1", "use a kernel of 3.4 or newer, and let the sandbox's filter pass prctl")
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err == nil && dumpable == 0 {
		f.ok("memory", "other processes of this user can't read this one's")
	}
	// Without Yama there is no file, and a sandbox can rarely add it.
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil && strings.TrimSpace(string(scope)) == "0" {
		f.warn("memory", "processes of one user may read each other's memory (kernel.yama.ptrace_scope is 0)", "sysctl kernel.yama.ptrace_scope=1")
	}
}
