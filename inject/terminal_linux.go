package inject

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is this process's controlling terminal, and who is in its foreground. A nil *terminal is
// none: every method then does nothing.
type terminal struct {
	fd    int
	own   int           // our own process group
	modes *unix.Termios // as we found them; nil: unknown
}

// openTerminal returns the controlling terminal, or nil where there is none.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	modes, _ := unix.IoctlGetTermios(fd, unix.TCGETS)
	return &terminal{fd: fd, own: unix.Getpgrp(), modes: modes}
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

// restore sets the modes back that we found, if we are in the foreground.
func (t *terminal) restore() {
	if t.holds() && t.modes != nil {
		blocked(unix.SIGTTOU, func() { _ = unix.IoctlSetTermios(t.fd, unix.TCSETS, t.modes) })
	}
}

// hungUp reports whether the terminal is gone.
func (t *terminal) hungUp() bool {
	if t == nil {
		return false
	}
	_, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err != nil
}

// orphaned reports whether nobody could continue our process group if it were stopped: then the kernel doesn't
// stop it. Somebody could if a parent of one of its members is in our session, but in another group; of the
// members we look at our own ancestors.
// Source: setpgid(2), "orphaned process group".
func (t *terminal) orphaned() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	for pid := unix.Getppid(); pid > 0; pid = parentOf(pid) {
		if of, err := unix.Getsid(pid); err != nil || of != session {
			return true
		}
		if group, err := unix.Getpgid(pid); err != nil || group != t.own {
			return err != nil
		}
	}
	return true
}

// parentOf returns 0 where there is none, or none can be seen.
func parentOf(pid int) int {
	fields := statOf(pid)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}

// mayBeStopped reports whether a process is stopped, or its state can't be seen.
func mayBeStopped(pid int) bool {
	fields := statOf(pid)
	return len(fields) == 0 || string(fields[0]) == "T"
}

// statOf returns what follows the command's name in /proc/PID/stat: its state, its parent and so on; nil where the
// process can't be seen.
// Source: proc_pid_stat(5), from field 3.
func statOf(pid int) [][]byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}

// stopSelf stops our process group by sig, as the terminal does it with a stop key (TSTP) or to a process that reads it
// in the background (TTIN, TTOU), and returns when it was continued. It is called on the main thread, which the kernel
// picks for a signal to the process: so the stop is there before the action is put back. (os/signal's Reset leaves the
// runtime's handler in place.)
//
// The CONT that continues us isn't caught: the caller continues the command. Passed on as well, and later, it would
// continue a command that a second press of the key has stopped since.
func (t *terminal) stopSelf(sig syscall.Signal) {
	if sig != unix.SIGTTIN && sig != unix.SIGTTOU {
		sig = unix.SIGTSTP
	}
	for _, one := range []syscall.Signal{sig, unix.SIGCONT} {
		caught, err := setAction(one, sigaction{})
		if err != nil {
			return
		}
		defer func() { _, _ = setAction(one, caught) }()
	}
	_ = unix.Kill(0, sig)
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

// aloneInGroup reports whether we lead our process group, as a shell's job does that is one command. Else others,
// such as the script that has started us, are meant by the terminal's keys too.
func aloneInGroup() bool { return unix.Getpgrp() == os.Getpid() }

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
