package doctor

import (
	"errors"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// machine checks what this machine offers.
func (f *findings) machine() {
	f.memoryFolder()
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

// memoryFolder looks for a place for files that never reach a disk.
func (f *findings) memoryFolder() {
	var looked []string
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run", "/dev/shm"} {
		var at unix.Statfs_t
		if dir == "" || unix.Statfs(dir, &at) != nil {
			continue
		}
		if at.Type == unix.TMPFS_MAGIC || at.Type == unix.RAMFS_MAGIC {
			f.ok("tmpfs", dir+" is in memory")
			return
		}
		looked = append(looked, dir)
	}
	f.warn("tmpfs", "none of "+strings.Join(looked, ", ")+" is in memory: what export writes to a file reaches a disk",
		"mount a tmpfs on /run")
}

// kernel asks for each feature by using it.
func (f *findings) kernel() {
	var name unix.Utsname
	release := "linux"
	if unix.Uname(&name) == nil {
		release += " " + unix.ByteSliceToString(name.Release[:])
	}
	has, lacks := []string{}, []string{}
	note := func(feature string, err error) {
		if err == nil {
			has = append(has, feature)
		} else {
			lacks = append(lacks, feature)
		}
	}
	secret, err := unix.MemfdSecret(0)
	if err == nil {
		_ = unix.Close(secret)
	}
	note("memfd_secret", err)
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err == nil {
		_ = unix.Close(pidfd)
	}
	note("pidfd", err)
	found := release
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
	scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	switch {
	case errors.Is(err, os.ErrNotExist): // Yama isn't there, and a sandbox rarely lets one add it
	case err == nil && strings.TrimSpace(string(scope)) == "0":
		f.warn("memory", "processes of one user may read each other's memory (kernel.yama.ptrace_scope is 0)", "sysctl kernel.yama.ptrace_scope=1")
	}
}
