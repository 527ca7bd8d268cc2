package inject

import (
	"fmt"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// ptyPair stands between a masked command and the terminal, so that the command still has one.
//
// Where the terminal is also our standard input and we are in its foreground, the command gets a
// session of its own on the pty, and every key goes through it: the pty makes the signals, once. Else
// only output goes through, and the real terminal keeps the keys.
type ptyPair struct {
	master, slave int
	real          int             // our stream that is the terminal
	session       bool            // the command leads a session on the pty
	suspend       chan<- struct{} // told of the stop key
	keys          *keyboard       // while cooked is set
	cooked        *unix.Termios   // the terminal's modes, while it passes every key
	size          unix.Winsize
}

// openPty makes a pty that looks like the terminal real: same modes, same size.
func openPty(real int, session bool, suspend chan<- struct{}) (*ptyPair, error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open a pty: %w", err)
	}
	// Plain descriptors: their lives are the relays', not the garbage collector's.
	p := &ptyPair{real: real, session: session, suspend: suspend}
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
	if modes, err := unix.IoctlGetTermios(real, unix.TCGETS); err == nil {
		if !session {
			modes.Oflag &^= unix.OPOST // the real terminal does it
		}
		_ = unix.IoctlSetTermios(p.slave, unix.TCSETS, modes)
	}
	p.resize()
	return p, nil
}

// resize gives the pty the terminal's size, upon which the kernel tells the command. It reports
// whether there was anything new.
func (p *ptyPair) resize() bool {
	size, err := unix.IoctlGetWinsize(p.real, unix.TIOCGWINSZ)
	if err != nil || *size == p.size {
		return false
	}
	p.size = *size
	return unix.IoctlSetWinsize(p.master, unix.TIOCSWINSZ, size) == nil
}

// raw has every key pass through us to the pty, as it is.
func (p *ptyPair) raw() {
	if p == nil || !p.session || p.cooked != nil {
		return
	}
	modes, err := unix.IoctlGetTermios(p.real, unix.TCGETS)
	if err != nil {
		return
	}
	p.cooked = modes
	passing := *modes
	passing.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	passing.Oflag &^= unix.OPOST
	passing.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	passing.Cc[unix.VMIN], passing.Cc[unix.VTIME] = 1, 0
	_ = unix.IoctlSetTermios(p.real, unix.TCSETS, &passing)
	keys, err := newKeyboard(p.real, p.master, p.suspend)
	if err != nil {
		return // nothing can be typed, but everything else works
	}
	p.keys = keys
	go keys.run()
}

// cook gives the terminal back as it was.
func (p *ptyPair) cook() {
	if p == nil || p.cooked == nil {
		return
	}
	p.stopKeys()
	_ = unix.IoctlSetTermios(p.real, unix.TCSETS, p.cooked)
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
		_ = unix.IoctlSetTermios(p.real, unix.TCSETS, &modes)
	}
	_ = unix.Close(p.master)
}
