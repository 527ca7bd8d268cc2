package command

import (
	"syscall"
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// procPin keeps the calling goroutine on its thread until procUnpin, without the thread that runtime.LockOSThread starts.
// Nothing in between may wait for another goroutine or make a system call that the runtime knows of.
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// Replace replaces this process by the command, which inherits ignored and blocked signals and closed standard streams as
// this process did. With caught, signals sent since signal.Catch that were blocked at the start are pending for the
// command. It returns only if the kernel refuses, with a StartError.
func (c Command) Replace(caught *signal.Queue) error {
	blocked := inherited.Blocked()
	var pending []signal.Sent
	if caught != nil { // first, since it needs the runtime's signals
		pending = caught.Rest(blocked)
	}
	for n := syscall.Signal(1); n <= signal.Last; n++ {
		if inherited.Ignored().Has(n) {
			_, _ = inherited.SetAction(n, inherited.Action{Handler: 1})
		}
	}
	for fd := range 3 {
		if inherited.Closed(fd) {
			unix.CloseOnExec(fd)
		}
	}
	return StartError(c.Path, c.exec(blocked, pending))
}

// exec replaces this process by the command. Of pending signals, those that are blocked are sent again.
func (c Command) exec(blocked inherited.Signals, pending []signal.Sent) error {
	procPin() // the command inherits the thread's mask
	defer procUnpin()
	defer inherited.SetMask(inherited.SetMask(blocked))
	for _, one := range pending {
		if blocked.Has(one.Signal()) {
			one.SendToThread()
		}
	}
	return syscall.Exec(c.Path, c.Args, c.Env)
}
