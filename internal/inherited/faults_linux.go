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

// faultsAfter is the delay of EndByFaults. os/signal starts a thread, which a process that replaces itself at once doesn't need.
const faultsAfter = 50 * time.Millisecond

// faultHandler is the runtime's handler, set by Act.
var faultHandler uintptr

// EndByFaults makes FPE, SEGV and BUS from another process end this one, without stacks, unless they were ignored at the start
// or have another handler than the runtime's. Faults of this process still cause panics. Call it after Act and before
// anything that takes long. Only the first call has an effect.
var EndByFaults = sync.OnceFunc(func() {
	time.AfterFunc(faultsAfter, func() {
		if faultHandler == 0 || handler(unix.SIGSEGV) != faultHandler {
			return
		}
		sent := make(chan os.Signal, 1)
		signal.Notify(sent, unix.SIGFPE, unix.SIGSEGV, unix.SIGBUS) // it doesn't get faults of this process
		for one := range sent {
			if n, ok := one.(syscall.Signal); ok && !Ignored().Has(n) {
				EndBy(n, os.Getpid())
			}
		}
	})
})

// EndBy ends this process with a signal, unless it is process 1, and without a core, which would contain values. to is a
// process or group as in kill(2).
func EndBy(n syscall.Signal, to int) {
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil {
		return
	}
	if _, err := SetAction(n, Action{}); err == nil {
		_ = unix.Kill(to, n)
	}
}

// handler returns the current handler of a signal.
func handler(n syscall.Signal) uintptr {
	var now Action
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), 0, uintptr(unsafe.Pointer(&now)), unsafe.Sizeof(now.Mask), 0, 0)
	return now.Handler
}
