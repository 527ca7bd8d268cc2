package inject

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// terminal is this process's controlling terminal, and who is in its foreground. A nil *terminal is
// none: every method then does nothing.
type terminal struct {
	fd  int
	own int // our own process group
}

// openTerminal returns the controlling terminal, or nil where there is none.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	return &terminal{fd: fd, own: unix.Getpgrp()}
}

// foreground tells whether group is the one the terminal's keys go to.
func (t *terminal) foreground(group int) bool {
	if t == nil {
		return false
	}
	now, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && now == group
}

// holds tells whether we are in the foreground.
func (t *terminal) holds() bool { return t != nil && t.foreground(t.own) }

// give puts group in the foreground in our place, and take does the reverse. Nothing happens where
// the other isn't there.
func (t *terminal) give(group int) {
	if t.holds() {
		t.put(group)
	}
}

func (t *terminal) take(group int) {
	if t.foreground(group) {
		t.put(t.own)
	}
}

func (t *terminal) put(group int) {
	// From the background this would stop us (TTOU), unless the thread that asks has it blocked.
	blocked(unix.SIGTTOU, func() { _ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) })
}

// stopSelf stops our process group as the terminal's stop key does, and returns when it was continued.
// Where nobody could continue it (an orphaned group), the kernel doesn't stop it. It is called on the
// main thread, which the kernel picks for a signal to the process: so the stop is there before the
// action is put back. (os/signal's Reset leaves the runtime's handler in place.)
func (t *terminal) stopSelf() {
	caught, err := setAction(unix.SIGTSTP, sigaction{})
	if err != nil {
		return
	}
	_ = unix.Kill(0, unix.SIGTSTP)
	_, _ = setAction(unix.SIGTSTP, caught)
}

// blocked runs f on a thread that doesn't get sig meanwhile.
func blocked(sig unix.Signal, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (sig - 1)
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old)
	f()
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
}

// isTerminal tells whether fd is a terminal.
func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// inPipeline tells whether one of our standard streams is a pipe or socket: then others of our
// process group may be using the terminal, and it isn't ours to give away.
func inPipeline() bool {
	for fd := range 3 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFIFO || kind == unix.S_IFSOCK {
			return true
		}
	}
	return false
}
