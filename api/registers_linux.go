package api

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// holdSignals blocks all signals of this thread until resume, except those of faults.
func holdSignals() (resume func()) {
	var all, old unix.Sigset_t
	for i := range 64 / (8 * int(unix.SizeofPtr)) {
		all.Val[i] = ^all.Val[i]
	}
	for _, fault := range []unix.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS} { // all below 32
		all.Val[0] &^= 1 << (fault - 1)
	}
	runtime.LockOSThread()
	if unix.PthreadSigmask(unix.SIG_BLOCK, &all, &old) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
		runtime.UnlockOSThread()
	}
}
