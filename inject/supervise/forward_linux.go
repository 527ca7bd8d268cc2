package supervise

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/signal"
)

// receive handles a signal sent to this process. A signal with a value is forwarded with its value and sender.
func (v *supervisor) receive(one signal.Sent) {
	sig := one.Signal()
	switch {
	case one.BySelf() && (sig == unix.SIGINT || sig == unix.SIGQUIT):
		// From keyboard.signal. The command gets it from its pty.
		v.ending = v.ending || v.stopping
	case one.ByKernel() && (sig == unix.SIGTTIN || sig == unix.SIGTTOU):
		// About this process group's use of the terminal.
	case !one.HasValue():
		v.forward(sig)
	default:
		v.Log.Debug().Str("signal", signal.Name(sig)).Int("pid", v.pid).Msg("signal received")
		if v.pid != 0 {
			v.sent(v.pid, sig, one.SendTo(v.pid))
		}
	}
}

// sent logs that a signal couldn't be sent, unless the process is gone.
func (v *supervisor) sent(pid int, sig syscall.Signal, err error) {
	if err != nil && !errors.Is(err, unix.ESRCH) {
		v.Log.Warn().Err(err).Int("pid", pid).Str("signal", signal.Name(sig)).Msg("signal not sent")
	}
}

// forward forwards a signal to the command.
func (v *supervisor) forward(sig syscall.Signal) {
	v.Log.Debug().Str("signal", signal.Name(sig)).Int("pid", v.pid).Msg("signal received")
	if v.stopping && v.asksToEnd(sig) {
		v.ending = true // don't restart the command either
	}
	if v.draining != nil && (sig == unix.SIGTERM || sig == unix.SIGHUP || v.asksToEnd(sig)) {
		v.cutShort(sig)
		return
	}
	to := v.pid
	if v.fromTerminal(sig) {
		to = -v.group
	}
	switch sig {
	case unix.SIGTERM:
		v.end()
	case unix.SIGCONT:
		v.resume()
	case unix.SIGWINCH:
		if p := v.streams.pty; p != nil && p.resize() && p.session && p.foreground() != v.streams.session.group {
			return // the pty sent it to the command
		}
		v.send(to, sig)
	default:
		v.send(to, sig)
		if sig == unix.SIGHUP && to < 0 {
			v.send(to, unix.SIGCONT) // a stopped process can't end
		}
	}
}

// fromTerminal reports whether a signal comes from the terminal and so is for the command's whole group: from a key or a
// change of size while this process is in the foreground, or because the terminal is gone.
func (v *supervisor) fromTerminal(sig syscall.Signal) bool {
	switch sig {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH:
		return v.pid != 0 && v.terminal.holds()
	case unix.SIGHUP:
		return v.pid != 0 && v.terminal.hungUp()
	}
	return false
}

// asksToEnd reports whether a user or a terminal asks with this signal that everything ends. Without a terminal, HUP asks
// a service to reload its configuration instead.
func (v *supervisor) asksToEnd(sig syscall.Signal) bool {
	return sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGHUP && v.terminal != nil
}

// stopped handles a stop of the command. If it was stopped for using the terminal, it gets the terminal if possible. If
// its user stopped it, this process stops in the same way, so that the shell sees it.
func (v *supervisor) stopped(by syscall.Signal) {
	v.Log.Debug().Int("pid", v.pid).Str("signal", signal.Name(by)).Msg("command stopped")
	p := v.streams.pty
	asks := by == unix.SIGTTIN || by == unix.SIGTTOU
	switch {
	case v.stopping && !asks: // while it was asked to end
		v.send(v.pid, unix.SIGCONT)
	case asks && v.streams.session != nil && p.mayRead():
		p.raw()
		v.streams.session.foreground(v.group, v.group)
	case v.terminal == nil:
	case asks && v.terminal.holds():
		v.terminal.give(v.group)
		v.had = true
		v.send(-v.group, unix.SIGCONT)
	case v.terminal.hungUp(): // nobody could continue it: the kernel does this to stopped jobs of a shell that is gone
		v.send(-v.group, unix.SIGHUP)
		v.send(-v.group, unix.SIGCONT)
	case !v.terminal.orphaned():
		v.suspend()
		v.terminal.stopSelf(by)
		v.resume()
	case by == unix.SIGTSTP:
		v.resume() // as the kernel: nobody could continue it
	}
}

// suspend takes the terminal from a stopped command.
func (v *supervisor) suspend() {
	if v.streams.session == nil {
		v.terminal.take(v.group)
		return
	}
	p := v.streams.pty
	if p.front = p.foreground(); p.front == v.streams.session.group {
		p.front = 0 // the command didn't have it
	}
	p.cook()
	v.streams.session.background()
}

// resume continues the command, in the foreground if this process is there.
func (v *supervisor) resume() {
	p := v.streams.pty
	switch {
	case v.streams.session != nil:
		if p.had && p.mayRead() {
			p.raw()
			p.resize()
			v.streams.session.foreground(p.front, v.group)
			p.front = 0 // another CONT must not undo later changes
			return
		}
	case v.terminal.holds() && !v.shares(v.streams):
		v.terminal.give(v.group)
		v.had = true
	}
	v.send(-v.group, unix.SIGCONT)
}
