package inject

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// forward passes a signal sent to us on to the command.
func (v *supervisor) forward(sig syscall.Signal) {
	v.Log.Debug().Str("signal", signalName(sig)).Int("pid", v.pid).Msg("signal received")
	if v.stopping && v.asksToEnd(sig) {
		v.ending = true // and not only the command that a restart is ending anyway
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
		if p := v.streams.pty; p != nil && p.resize() && p.session && p.foreground() != v.streams.host.group {
			return // the pty told the command
		}
		v.send(to, sig)
	default:
		v.send(to, sig)
		if sig == unix.SIGHUP && to < 0 {
			v.send(to, unix.SIGCONT) // a stopped one couldn't end
		}
	}
}

// fromTerminal reports whether a signal is the terminal's, which means all of the command's group by it: a key or a
// new size while we hold the foreground, or its end.
func (v *supervisor) fromTerminal(sig syscall.Signal) bool {
	switch sig {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH:
		return v.pid != 0 && v.terminal.holds()
	case unix.SIGHUP:
		return v.pid != 0 && v.terminal.hungUp()
	}
	return false
}

// asksToEnd tells whether a signal is a person's or a terminal's way of ending what runs. HUP is that only
// where there is a terminal: else it is how services are told to read their configuration again.
func (v *supervisor) asksToEnd(sig syscall.Signal) bool {
	return sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGHUP && v.terminal != nil
}

// stopped acts on the command having been stopped: by asking for the terminal, which it then gets if we can give it,
// or by its user, whose shell is then told by our stopping too, in the same way.
func (v *supervisor) stopped(by syscall.Signal) {
	v.Log.Debug().Int("pid", v.pid).Str("signal", signalName(by)).Msg("command stopped")
	p := v.streams.pty
	asks := by == unix.SIGTTIN || by == unix.SIGTTOU
	switch {
	case v.stopping && !asks: // it was stopped at the moment that it was asked to end
		v.send(v.pid, unix.SIGCONT)
	case asks && v.streams.host != nil && p.mayRead():
		p.raw()
		v.streams.host.foreground(v.group, v.group)
	case v.terminal == nil:
	case asks && v.terminal.holds():
		v.terminal.give(v.group)
		v.had = true
		v.send(-v.group, unix.SIGCONT)
	case v.terminal.hungUp(): // nobody could continue us; the kernel does this to a stopped job whose shell has gone
		v.send(-v.group, unix.SIGHUP)
		v.send(-v.group, unix.SIGCONT)
	case !v.terminal.orphaned():
		v.suspend()
		v.terminal.stopSelf(by)
		v.resume()
	case by == unix.SIGTSTP:
		v.resume() // as the kernel does: a stopped command could never be continued
	}
}

// suspend takes the terminal from a command that was stopped.
func (v *supervisor) suspend() {
	if v.streams.host == nil {
		v.terminal.take(v.group)
		return
	}
	p := v.streams.pty
	if p.front = p.foreground(); p.front == v.streams.host.group {
		p.front = 0 // the command hasn't had it
	}
	p.cook()
	v.streams.host.background()
}

// resume continues the command, in the foreground if that is where we are now.
func (v *supervisor) resume() {
	p := v.streams.pty
	switch {
	case v.streams.host != nil:
		if p.had && p.mayRead() {
			p.raw()
			p.resize()
			v.streams.host.foreground(p.front, v.group)
			p.front = 0 // a further CONT mustn't undo what has happened since
			return
		}
	case v.terminal.holds() && !v.shares(v.streams):
		v.terminal.give(v.group)
		v.had = true
	}
	v.send(-v.group, unix.SIGCONT)
}
