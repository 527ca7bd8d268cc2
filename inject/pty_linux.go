package inject

import (
	"fmt"
	"sync/atomic"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// ptyPair stands between a masked command and the terminal, so that the command still has one.
//
// With a session, the pty is the command's controlling terminal, and every key goes through it once the command is to
// have the keys: the pty makes the signals. Else only output goes through, and the real terminal keeps the keys.
type ptyPair struct {
	master, slave int       // -1 once closed; the slave is open here so that the command can open it again
	terminal      *terminal // ours; nil: it isn't our controlling terminal
	real          int       // a descriptor of the terminal
	keysFrom      int       // one that keys are read from without blocking
	session       bool
	keys          *keyboard     // while cooked is set
	cooked        *unix.Termios // the terminal's modes, while it passes every key
	passing       atomic.Bool   // while cooked is set, and until all output is passed on
	command       atomic.Int64  // the command's process group
	had           bool          // the command was given the keys
	front         int           // the process group in the pty's foreground before the command was stopped; 0: leave it
	size          unix.Winsize
}

// openPty makes a pty that looks like the terminal that fd is: same modes, same size.
func openPty(fd int, t *terminal) (*ptyPair, error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open a pty: %w", err)
	}
	p := &ptyPair{real: fd, keysFrom: fd}
	switch {
	case t != nil && sameTerminal(fd, t.fd):
		p.terminal, p.real, p.keysFrom = t, t.fd, t.fd
	case isTerminal(0):
		// Without blocking, and without changing how others read it.
		if own, err := unix.Open("/proc/self/fd/0", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			p.keysFrom = own
		}
	}
	// Plain descriptors: their lives are the relays', not the garbage collector's.
	if p.master, err = unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		p.slave, err = unix.FcntlInt(s.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	}
	_, _ = m.Close(), s.Close()
	if err == nil {
		err = unix.SetNonblock(p.master, true) // a command that reads no keys mustn't hold us up
	}
	if err != nil {
		return nil, fmt.Errorf("open a pty: %w", err)
	}
	if modes, err := unix.IoctlGetTermios(p.real, unix.TCGETS); err == nil {
		_ = unix.IoctlSetTermios(p.slave, unix.TCSETS, modes)
	}
	p.resize()
	return p, nil
}

// outputOnly leaves what output needs done to the real terminal.
func (p *ptyPair) outputOnly() {
	if modes, err := unix.IoctlGetTermios(p.slave, unix.TCGETS); err == nil {
		modes.Oflag &^= unix.OPOST
		_ = unix.IoctlSetTermios(p.slave, unix.TCSETS, modes)
	}
}

// resize gives the pty the terminal's size, upon which the kernel tells who is in its foreground. It reports
// whether there was anything new.
func (p *ptyPair) resize() bool {
	size, err := unix.IoctlGetWinsize(p.real, unix.TIOCGWINSZ)
	if err != nil || *size == p.size {
		return false
	}
	p.size = *size
	return unix.IoctlSetWinsize(p.master, unix.TIOCSWINSZ, size) == nil
}

// foreground is the process group in the pty's foreground, or 0.
func (p *ptyPair) foreground() int {
	group, err := unix.IoctlGetInt(p.master, unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

func (p *ptyPair) group() int { return int(p.command.Load()) }

// mayRead reports whether keys are ours to read: we are in the terminal's foreground, or it knows no foreground of ours.
func (p *ptyPair) mayRead() bool { return p.terminal == nil || p.terminal.holds() }

// raw has every key pass through us to the pty, as it is. What was typed before comes first.
func (p *ptyPair) raw() {
	if p == nil || !p.session || p.cooked != nil {
		return
	}
	modes, err := unix.IoctlGetTermios(p.real, unix.TCGETS)
	if err != nil {
		return
	}
	ahead := readLines(p.keysFrom, modes)
	passing := *modes
	passing.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	passing.Oflag &^= unix.OPOST
	passing.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	passing.Cc[unix.VMIN], passing.Cc[unix.VTIME] = 1, 0
	p.setModes(&passing)
	p.passing.Store(true)
	p.cooked, p.had = modes, true
	ahead = append(ahead, readReady(p.keysFrom)...)
	keys, err := newKeyboard(p)
	if err != nil {
		return // nothing can be typed, but everything else works
	}
	p.keys = keys
	keys.typeAhead(ahead)
	go keys.run()
}

// setModes sets the real terminal's.
func (p *ptyPair) setModes(modes *unix.Termios) {
	blocked(unix.SIGTTOU, func() { _ = unix.IoctlSetTermios(p.real, unix.TCSETS, modes) })
}

// cook gives the terminal back as it was.
func (p *ptyPair) cook() {
	if p == nil || p.cooked == nil {
		return
	}
	p.stopKeys()
	p.setModes(p.cooked)
	p.passing.Store(false)
	p.cooked = nil
}

func (p *ptyPair) stopKeys() {
	if p.keys != nil {
		p.keys.stop()
		p.keys = nil
	}
}

// end passes no more keys on, as the command has ended. The terminal makes signals of keys again, and shows what the
// pty has still to give as it comes: cook does the rest.
func (p *ptyPair) end() {
	p.stopKeys()
	if p.cooked != nil {
		modes := *p.cooked
		modes.Oflag &^= unix.OPOST
		p.setModes(&modes)
	}
	if p.terminal == nil && p.keysFrom != p.real {
		_ = unix.Close(p.keysFrom)
	}
	p.hangUp()
}

// hangUp closes our side of the pty. The relay of its output has a descriptor of its own.
func (p *ptyPair) hangUp() {
	p.stopKeys()
	if p.master >= 0 {
		_, _ = unix.Close(p.master), unix.Close(p.slave)
		p.master, p.slave = -1, -1
	}
}

// sameTerminal reports whether two descriptors are of one terminal, be it by another name.
func sameTerminal(a, b int) bool {
	x, err1 := unix.IoctlGetUint32(a, unix.TIOCGDEV)
	y, err2 := unix.IoctlGetUint32(b, unix.TIOCGDEV)
	return err1 == nil && err2 == nil && x == y
}
