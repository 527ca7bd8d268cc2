package command

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// Replace replaces this process by the command, which inherits ignored and blocked signals and closed standard streams as
// this process did. With caught, signals sent since signal.Catch that were blocked at the start are pending for the
// command. It returns only if the kernel refuses, with a StartError.
func (c Command) Replace(caught *signal.Queue) error {
	blocked := inherited.Blocked()
	lock := caught != nil || blocked != 0 // not always, since it starts a thread
	if lock {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
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
	if lock {
		defer signal.SetMask(signal.SetMask(blocked))
	}
	for _, one := range pending {
		if blocked.Has(one.Signal()) {
			one.SendToThread()
		}
	}
	return StartError(c.Path, syscall.Exec(c.Path, c.Args, c.Env))
}
