package api

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// unheld are the signals that holdSignals doesn't block: those of faults, and like the C library 32 and 33. Go's runtime sends 33 to
// each thread to run a system call on all of them, and waits until all have.
var unheld = []unix.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS, 32, 33}

// holdSignals blocks the other signals of this thread until resume.
func holdSignals() (resume func()) {
	var all, old unix.Sigset_t
	const bits = 8 * int(unix.SizeofPtr)
	for i := range 64 / bits {
		all.Val[i] = ^all.Val[i]
	}
	for _, n := range unheld {
		all.Val[int(n-1)/bits] &^= 1 << (int(n-1) % bits)
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
