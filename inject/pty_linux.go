package inject

import (
	"bytes"
	"fmt"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// ptyPair stands between a masked command and the terminal, so that the command still has one.
//
// Where the terminal is also our standard input and we are in its foreground, the command gets a
// session of its own on the pty, and every key goes through it: the pty makes the signals, once. Else
// only output goes through, and the real terminal keeps the keys.
type ptyPair struct {
	master, slave int
	real          int  // our stream that is the terminal
	session       bool // the command leads a session on the pty
	cooked        *term.State
	size          unix.Winsize
}

// openPty makes a pty that looks like the terminal real: same modes, same size.
func openPty(real int, session bool) (*ptyPair, error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open a pty: %w", err)
	}
	// Plain descriptors: their lives are the relays', not the garbage collector's.
	p := &ptyPair{real: real, session: session}
	if p.master, err = unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		p.slave, err = unix.FcntlInt(s.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	}
	_, _ = m.Close(), s.Close()
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

// raw makes the terminal pass every key to us as it is.
func (p *ptyPair) raw() {
	if p == nil || !p.session || p.cooked != nil {
		return
	}
	p.cooked, _ = term.MakeRaw(p.real)
}

// cook gives the terminal back as it was.
func (p *ptyPair) cook() {
	if p == nil || p.cooked == nil {
		return
	}
	_ = term.Restore(p.real, p.cooked)
	p.cooked = nil
}

// keyboard passes keys to the pty. The kernel ignores the pty's stop key, for it would stop a session
// that has no shell to continue it; but we are there to do so, so suspend is told of it.
type keyboard struct {
	master  int
	suspend chan<- struct{}
}

func (k keyboard) Write(p []byte) (int, error) {
	modes, err := unix.IoctlGetTermios(k.master, unix.TCGETS) // of the slave
	stop := err == nil && modes.Lflag&unix.ISIG != 0 && bytes.IndexByte(p, modes.Cc[unix.VSUSP]) >= 0
	n, err := stream(k.master).Write(p)
	if stop && err == nil {
		select {
		case k.suspend <- struct{}{}:
		default:
		}
	}
	return n, err
}
