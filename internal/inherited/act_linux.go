package inherited

import (
	"math"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Action is the kernel's struct sigaction, the same on amd64 and arm64.
type Action struct {
	Handler  uintptr // 0: the default, 1: ignored
	Flags    uint64
	Restorer uintptr
	Mask     Signals
}

// SetAction calls rt_sigaction(2) without the runtime's knowledge. It returns the previous action.
func SetAction(n syscall.Signal, action Action) (old Action, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n),
		uintptr(unsafe.Pointer(&action)), uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(action.Mask), 0, 0)
	if errno != 0 {
		return old, errno
	}
	return old, nil
}

// SetMask blocks exactly these signals on the calling thread, and returns those that were blocked before.
func SetMask(to Signals) (before Signals) {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&to)), uintptr(unsafe.Pointer(&before)), unsafe.Sizeof(to), 0, 0)
	return before
}

// crashes are the signals on which the runtime prints the stacks of all goroutines and exits with 2. FPE, SEGV and BUS cause
// panics instead.
var crashes = Set(unix.SIGQUIT, unix.SIGABRT, unix.SIGILL, unix.SIGTRAP, unix.SIGSTKFLT, unix.SIGSYS)

// theirs are the signals that the runtime needs, and PIPE, with which it detects writes to a closed standard output.
var theirs = Set(unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGFPE, unix.SIGSEGV, unix.SIGBUS, 33)

// deaf are the signals that the runtime catches without an effect. Their default is to end a process.
var deaf = Signals(math.MaxUint64>>34<<34) | Set(unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGVTALRM, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGIO, unix.SIGPWR)

// Act gives signals without a handler in os/signal the effect that they have on a program without Go's runtime: signals that
// were ignored at the start are ignored, and QUIT and similar ones end the process, without stacks. Call it first in main, and
// after signal.Stop of one of them.
func Act() {
	if faultHandler == 0 {
		faultHandler = handler(unix.SIGSEGV)
	}
	ignored := Ignored() &^ theirs
	for n := syscall.Signal(1); n <= 64; n++ {
		if !(ignored | crashes).Has(n) {
			continue
		}
		signal.Ignore(n) // otherwise a later signal.Notify has no effect
		var action Action
		if ignored.Has(n) {
			action.Handler = 1
		}
		_, _ = SetAction(n, action)
	}
}

// ActAll is for a process that is about to replace itself. After Act, it makes USR1 and similar signals end the process as
// well, also if they are Ordered. os/signal cannot handle them later.
func ActAll() {
	for n := syscall.Signal(1); n <= 64; n++ {
		if (deaf &^ Ignored()).Has(n) {
			_, _ = SetAction(n, Action{})
		}
	}
	if Ordered() { // one thread that doesn't block them is enough
		SetMask(Blocked())
	}
}
