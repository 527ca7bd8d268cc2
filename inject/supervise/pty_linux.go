package supervise

import (
	"fmt"
	"sync/atomic"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// ptyPair is a pty between a masked command and the terminal.
//
// With a session, the pty is the command's controlling terminal, and all keys pass through it while the command has them:
// the pty makes their signals. Without one only output passes through, and the real terminal handles keys.
type ptyPair struct {
	master, slave int       // -1: closed; the slave is kept open so that the command can open it again
	terminal      *terminal // nil: not this process's controlling terminal
	real          int       // descriptor of the terminal
	keysFrom      int       // descriptor for reading keys without blocking
	session       bool
	keys          *keyboard     // while cooked is set
	cooked        *unix.Termios // the terminal's modes to restore, while it passes all keys
	passing       atomic.Bool   // while cooked is set, and until all output has been written
	command       atomic.Int64  // the command's process group
	had           bool          // the command has had the keys
	standard      *unix.Termios // the pty's modes until it first gets the terminal's; nil: it has them
	front         int           // process group in the pty's foreground before the command was stopped; 0: keep it
	size          unix.Winsize
}

// openPty returns a pty with the size of the terminal fd, and with its modes. From the background, where these may be those of
// a shell that reads a line, it gets them when raw is first called.
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
		// A description of its own, whose non-blocking mode other readers don't share.
		if own, err := unix.Open("/proc/self/fd/0", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			p.keysFrom = own
		}
	}
	// Plain descriptors, which the garbage collector doesn't close.
	if p.master, err = dup(int(m.Fd())); err == nil {
		p.slave, err = dup(int(s.Fd()))
	}
	_, _ = m.Close(), s.Close()
	if err == nil {
		err = unix.SetNonblock(p.master, true) // a command that reads no keys must not block this process
	}
	if err != nil {
		return nil, fmt.Errorf("open a pty: %w", err)
	}
	if !p.mayRead() {
		p.standard, _ = unix.IoctlGetTermios(p.slave, unix.TCGETS)
	} else if modes, err := unix.IoctlGetTermios(p.real, unix.TCGETS); err == nil {
		_ = unix.IoctlSetTermios(p.slave, unix.TCSETS, modes)
	}
	p.resize()
	return p, nil
}

// outputOnly leaves the processing of output to the real terminal.
func (p *ptyPair) outputOnly() {
	if modes, err := unix.IoctlGetTermios(p.slave, unix.TCGETS); err == nil {
		modes.Oflag &^= unix.OPOST
		_ = unix.IoctlSetTermios(p.slave, unix.TCSETS, modes)
	}
}

// resize gives the pty the terminal's size, and the kernel sends WINCH to its foreground. It reports whether the size has
// changed.
func (p *ptyPair) resize() bool {
	size, err := unix.IoctlGetWinsize(p.real, unix.TIOCGWINSZ)
	if err != nil || *size == p.size {
		return false
	}
	p.size = *size
	return unix.IoctlSetWinsize(p.master, unix.TIOCSWINSZ, size) == nil
}

// foreground returns the process group in the pty's foreground, or 0.
func (p *ptyPair) foreground() int {
	group, err := unix.IoctlGetInt(p.master, unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// mayRead reports whether this process may read keys: it is in the terminal's foreground, or has no job control there.
func (p *ptyPair) mayRead() bool { return p.terminal == nil || p.terminal.holds() }

// raw makes the terminal pass all keys unchanged, and passes them to the pty, starting with those typed before.
func (p *ptyPair) raw() {
	if p == nil || !p.session || p.cooked != nil {
		return
	}
	modes, err := unix.IoctlGetTermios(p.real, unix.TCGETS)
	if err != nil {
		return
	}
	if now, err := unix.IoctlGetTermios(p.slave, unix.TCGETS); err == nil && p.standard != nil && *now == *p.standard {
		_ = unix.IoctlSetTermios(p.slave, unix.TCSETS, modes)
	}
	p.standard = nil
	ahead := readLines(p.keysFrom, modes)
	passing := *modes
	passing.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	passing.Oflag &^= unix.OPOST
	passing.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	passing.Cc[unix.VMIN], passing.Cc[unix.VTIME] = 1, 0
	setModes(p.real, &passing)
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

// cook restores the terminal's modes.
func (p *ptyPair) cook() {
	if p == nil || p.cooked == nil {
		return
	}
	p.stopKeys()
	setModes(p.real, p.cooked)
	p.passing.Store(false)
	p.cooked = nil
}

func (p *ptyPair) stopKeys() {
	if p.keys != nil {
		p.keys.stop()
		p.keys = nil
	}
}

// end is called when the command has ended. It stops passing keys, so that the terminal makes signals of them again. The
// terminal shows the pty's remaining output unchanged until cook is called.
func (p *ptyPair) end() {
	p.stopKeys()
	if p.cooked != nil {
		modes := *p.cooked
		modes.Oflag &^= unix.OPOST
		setModes(p.real, &modes)
	}
	if p.terminal == nil && p.keysFrom != p.real {
		_ = unix.Close(p.keysFrom)
	}
	p.hangUp()
}

// hangUp closes this process's side of the pty. The relay of its output has its own descriptor.
func (p *ptyPair) hangUp() {
	p.stopKeys()
	if p.master >= 0 {
		_, _ = unix.Close(p.master), unix.Close(p.slave)
		p.master, p.slave = -1, -1
	}
}
