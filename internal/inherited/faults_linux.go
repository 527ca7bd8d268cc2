package inherited

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faultsAfter is how long EndByFaults takes to have an effect. Asking os/signal for signals starts a thread, which a
// command that starts at once is spared.
const faultsAfter = 50 * time.Millisecond

// faultHandler is the runtime's, noted by Act.
var faultHandler uintptr

// EndByFaults has FPE, SEGV and BUS that another process sends end this one, without stacks, unless they were ignored at
// the start or have a handler that isn't the runtime's. Faults of our own stay panics. Call it, after Act, before anything
// that takes long. Calls after the first do nothing.
var EndByFaults = sync.OnceFunc(func() {
	time.AfterFunc(faultsAfter, func() {
		if faultHandler == 0 || handler(unix.SIGSEGV) != faultHandler {
			return
		}
		sent := make(chan os.Signal, 1)
		signal.Notify(sent, unix.SIGFPE, unix.SIGSEGV, unix.SIGBUS) // of these it gets no faults
		for one := range sent {
			if n, ok := one.(syscall.Signal); ok && !Ignored().Has(n) {
				EndBy(n, os.Getpid())
			}
		}
	})
})

// EndBy sends a signal that ends this process, without a core, unless it is process 1: a core would hold values. to is a
// process or group as kill(2) has it.
func EndBy(n syscall.Signal, to int) {
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil {
		return
	}
	if _, err := SetAction(n, Action{}); err == nil {
		_ = unix.Kill(to, n)
	}
}

// handler is what handles a signal now.
func handler(n syscall.Signal) uintptr {
	var now Action
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), 0, uintptr(unsafe.Pointer(&now)), unsafe.Sizeof(now.Mask), 0, 0)
	return now.Handler
}
