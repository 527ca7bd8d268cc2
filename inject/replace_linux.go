package inject

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// Replace turns this process into the command: same pid, nothing of us left. The command finds signals
// ignored and blocked, and standard streams closed, as we found them. caught is nil where signals weren't
// caught; else what was sent meanwhile and blocked when we started is waiting for the command. It
// returns only when the kernel refuses, with a *StartError.
func Replace(c Command, caught *Signals) error {
	blocked := inherited.Blocked()
	if caught != nil || blocked != 0 { // not always: it starts a thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	var waiting []sent
	if caught != nil { // first: the runtime needs signals of its own for this
		waiting = caught.rest(blocked)
	}
	for n := syscall.Signal(1); n <= lastRealTime; n++ {
		if inherited.Ignored().Has(n) {
			_, _ = setAction(n, sigaction{Handler: 1})
		}
	}
	for fd := range 3 {
		if inherited.Closed(fd) {
			unix.CloseOnExec(fd)
		}
	}
	if caught != nil || blocked != 0 {
		defer setMask(setMask(blocked))
	}
	for _, one := range waiting {
		if blocked.Has(one.signal()) {
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(unix.Getpid()), uintptr(unix.Gettid()),
				uintptr(one.number), uintptr(unsafe.Pointer(&siginfo{sent: one})), 0, 0)
		}
	}
	return startError(c.Path, syscall.Exec(c.Path, c.Args, c.Env))
}
