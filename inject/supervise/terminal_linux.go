package supervise

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// terminal is this process's controlling terminal. On nil, which means none, methods do nothing.
type terminal struct {
	fd    int
	own   int           // this process's group
	modes *unix.Termios // when this process was first in the foreground; nil: unknown
}

// openTerminal returns the controlling terminal, or nil.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	t := &terminal{fd: fd, own: unix.Getpgrp()}
	if t.holds() {
		t.note()
	}
	return t
}

// note records the modes when this process is first in the foreground. While it is in the background, they may be those of
// a shell that reads a line.
func (t *terminal) note() {
	if t.modes == nil {
		t.modes, _ = unix.IoctlGetTermios(t.fd, unix.TCGETS)
	}
}

// foreground reports whether a group is in the foreground.
func (t *terminal) foreground(group int) bool {
	if t == nil {
		return false
	}
	now, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && now == group
}

// holds reports whether this process is in the foreground.
func (t *terminal) holds() bool { return t != nil && t.foreground(t.own) }

// give replaces this process's group in the foreground by another, and take does the reverse. They do nothing if the group
// to replace isn't there.
func (t *terminal) give(group int) {
	if t.holds() {
		t.note()
		t.put(group)
	}
}

func (t *terminal) take(group int) {
	if t.foreground(group) {
		t.put(t.own)
	}
}

func (t *terminal) put(group int) {
	// From the background this stops the process unless the thread blocks TTOU.
	withoutTTOU(func() { _ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) })
}

// restore restores the recorded modes, if this process is in the foreground.
func (t *terminal) restore() {
	if t.holds() && t.modes != nil {
		setModes(t.fd, t.modes)
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

// orphaned reports whether nobody could continue this process group if it were stopped, in which case the kernel doesn't
// stop it. Somebody could if a member has a parent in the same session but another group. Of the members, only this
// process's ancestors are checked.
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

// parentOf returns 0 if there is no visible parent.
func parentOf(pid int) int {
	fields := statOf(pid)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}

// mayBeStopped reports whether a process is stopped or its state isn't visible.
func mayBeStopped(pid int) bool {
	fields := statOf(pid)
	return len(fields) == 0 || string(fields[0]) == "T"
}

// statOf returns the fields after the command's name in /proc/PID/stat: state, parent and so on; nil: not visible.
// Source: proc_pid_stat(5), from field 3.
func statOf(pid int) [][]byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}

// stopSelf stops this process group, with the signal by which the terminal stops it: TSTP for a stop key, TTIN or TTOU for
// use from the background. It returns when the group was continued. It must be called on the main thread, to which the
// kernel delivers signals to the process first, so that the stop takes effect before the handler is restored. (Reset of
// os/signal would leave the runtime's handler in place.)
//
// The CONT that continues this process isn't caught: the caller continues the command. Forwarded later, it would continue
// a command that a second key press has stopped since.
func (t *terminal) stopSelf(sig syscall.Signal) {
	if sig != unix.SIGTTIN && sig != unix.SIGTTOU {
		sig = unix.SIGTSTP
	}
	for _, one := range []syscall.Signal{sig, unix.SIGCONT} {
		caught, err := inherited.SetAction(one, inherited.Action{})
		if err != nil {
			return
		}
		defer func() { _, _ = inherited.SetAction(one, caught) }()
	}
	_ = unix.Kill(0, sig)
}

// withoutTTOU runs f on a thread that blocks TTOU, with the other signals.
func withoutTTOU(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer inherited.SetMask(inherited.SetMask(inherited.Blockable))
	f()
}

// setModes sets a terminal's modes, also from the background.
func setModes(fd int, modes *unix.Termios) {
	withoutTTOU(func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, modes) })
}

// aloneInGroup reports whether this process leads its group, like a shell's job with one command. Otherwise the terminal's
// keys are also for others in the group, such as the script that started this process.
func aloneInGroup() bool { return unix.Getpgrp() == os.Getpid() }

// isTerminal reports whether fd is a terminal.
func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// sameTerminal reports whether two descriptors are of the same terminal, possibly under different names.
func sameTerminal(a, b int) bool {
	x, err1 := unix.IoctlGetUint32(a, unix.TIOCGDEV)
	y, err2 := unix.IoctlGetUint32(b, unix.TIOCGDEV)
	return err1 == nil && err2 == nil && x == y
}

// inPipeline reports whether a standard stream is a pipe or socket. Other processes of this group may then use the
// terminal.
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
