package inject

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// streams are what a command gets as standard input, output and error, and what lies between these
// and ours.
type streams struct {
	files  [3]uintptr
	pty    *ptyPair
	theirs []int // the command's ends, closed here once it has them
	relays []*relay
}

// plainStreams are our own.
func plainStreams() *streams { return &streams{files: [3]uintptr{0, 1, 2}} }

// maskedStreams put masker between the command and our output: through a pty where ours is a terminal,
// else through a pipe; one for both where both are the same, so that their order stays.
func maskedStreams(masker *Masker, t *terminal, suspend chan<- struct{}) (*streams, error) {
	s := plainStreams()
	if err := s.mask(masker, t, suspend); err != nil {
		s.started()
		s.finish(time.Second)
		return nil, err
	}
	return s, nil
}

func (s *streams) mask(masker *Masker, t *terminal, suspend chan<- struct{}) error {
	for _, fd := range []int{1, 2} {
		switch {
		case isTerminal(fd) && s.pty != nil:
			s.files[fd] = uintptr(s.pty.slave)
		case isTerminal(fd):
			if err := s.openPty(fd, masker, isTerminal(0) && t.holds(), suspend); err != nil {
				return err
			}
		case fd == 2 && !isTerminal(1) && sameFile(1, 2):
			s.files[2] = s.files[1]
		default:
			end, err := s.pipe(fd, masker)
			if err != nil {
				return err
			}
			s.files[fd] = end
		}
	}
	return nil
}

// maskHook gives a hook one masked pipe to our standard error.
func (s *streams) maskHook(masker *Masker) error {
	end, err := s.pipe(2, masker)
	s.files[1], s.files[2] = end, end
	return err
}

// pipe starts a relay to fd and returns the end to write to.
func (s *streams) pipe(fd int, masker *Masker) (uintptr, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe for output: %w", err)
	}
	s.theirs = append(s.theirs, p[1])
	return uintptr(p[1]), s.relay(relay{from: p[0], to: masker.Writer(stream(fd)), drain: true})
}

func (s *streams) openPty(fd int, masker *Masker, session bool, suspend chan<- struct{}) error {
	pair, err := openPty(fd, session)
	if err != nil {
		return err
	}
	s.pty = pair
	s.files[fd] = uintptr(pair.slave)
	s.theirs = append(s.theirs, pair.slave)
	// Each relay closes what it reads, so each gets a descriptor of its own; master stays ours.
	out, err := dup(pair.master)
	if err != nil {
		return err
	}
	if err := s.relay(relay{from: out, to: masker.Writer(stream(fd)), drain: true, eager: true}); err != nil {
		return err
	}
	if !session {
		return nil
	}
	s.files[0] = uintptr(pair.slave)
	in, err := dup(0)
	if err != nil {
		return err
	}
	if err := s.relay(relay{from: in, to: keyboard{pair.master, suspend}}); err != nil {
		return err
	}
	pair.raw()
	return nil
}

func (s *streams) relay(r relay) error {
	started, err := startRelay(r)
	if err == nil {
		s.relays = append(s.relays, started)
	}
	return err
}

// remask has all that is read from here on masked by m, which knows what the maskers before knew.
func (s *streams) remask(m *Masker) {
	for _, r := range s.relays {
		r.next.Store(m)
	}
}

// started closes our copies of the command's ends: it alone has them now.
func (s *streams) started() {
	for _, fd := range s.theirs {
		_ = unix.Close(fd)
	}
	s.theirs = nil
}

// finish passes on what the command left, and gives the terminal back. A reader of ours that doesn't
// read holds it up, but no longer than patience.
func (s *streams) finish(patience time.Duration) {
	for _, r := range s.relays {
		r.finish()
	}
	timeout := time.After(patience)
	for _, r := range s.relays {
		select {
		case <-r.done:
			_ = unix.Close(r.wake[0])
			_ = unix.Close(r.wake[1])
		case <-timeout:
			timeout = passed()
		}
	}
	if s.pty != nil {
		s.pty.cook()
		_ = unix.Close(s.pty.master)
	}
}

// passed is a timeout that has passed.
func passed() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}

func dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, fmt.Errorf("copy a file descriptor: %w", err)
	}
	return n, nil
}

func sameFile(a, b int) bool {
	var x, y unix.Stat_t
	return errors.Join(unix.Fstat(a, &x), unix.Fstat(b, &y)) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}
