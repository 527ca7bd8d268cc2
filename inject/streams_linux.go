package inject

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// streams are what a command gets as standard input, output and error, and what lies between these
// and ours.
type streams struct {
	files  [3]uintptr
	pty    *ptyPair
	host   *session // on the pty; may be nil
	theirs []int    // the command's ends, closed here once it has them
	relays []*relay
	ended  chan struct{}                  // of the pty's relay: its one message is that the relay has ended
	lost   func(stream string, err error) // reports lost output; called on a relay's goroutine
}

// plainStreams are our own.
func plainStreams() *streams { return &streams{files: [3]uintptr{0, 1, 2}} }

// maskedStreams put a mask between the command and our output: through a pty where ours is a terminal,
// else through a pipe; one for both where both are the same, so that their order stays.
func (v *supervisor) maskedStreams() (*streams, error) {
	s := plainStreams()
	s.lost, s.ended = v.lost, make(chan struct{}, 1)
	if err := s.mask(v); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *streams) mask(v *supervisor) error {
	m := v.masker
	for _, fd := range []int{1, 2} {
		switch {
		case inherited.Closed(fd): // spawn closes it in the command too
		case isTerminal(fd) && s.pty != nil:
			s.files[fd] = uintptr(s.pty.slave)
		case isTerminal(fd):
			if err := s.openPty(fd, m, v); err != nil {
				return err
			}
		case fd == 2 && !inherited.Closed(1) && !isTerminal(1) && sameFile(1, 2):
			s.files[2] = s.files[1]
		default:
			end, err := s.pipe(fd, m)
			if err != nil {
				return err
			}
			s.files[fd] = end
		}
	}
	return nil
}

// hookStreams are what a hook gets: nothing to read, and one masked pipe to our standard error.
func hookStreams(m *mask.Masker, lost func(string, error)) (*streams, error) {
	s := plainStreams()
	s.lost = lost
	end, err := s.pipe(2, m)
	s.files[1], s.files[2] = end, end
	return s, err
}

// pipe starts a relay to fd and returns the end to write to.
func (s *streams) pipe(fd int, m *mask.Masker) (uintptr, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe for output: %w", err)
	}
	s.theirs = append(s.theirs, p[1])
	return uintptr(p[1]), s.relay(p[0], fd, m, false)
}

// openPty puts a pty before the terminal that fd is. Where keys may come from there, it gets a session: the terminal is
// our controlling terminal, or our standard input. The command has the keys from its start if we may read them and nobody
// else in our process group does; else when it asks for them.
func (s *streams) openPty(fd int, m *mask.Masker, v *supervisor) error {
	pair, err := openPty(fd, v.terminal)
	if err != nil {
		return err
	}
	s.pty = pair
	s.files[fd] = uintptr(pair.slave)
	input := sameTerminal(0, fd)
	if pair.terminal != nil || input {
		if s.host, err = startSession(pair.slave); err != nil {
			v.Log.Warn().Err(err).Msg("command has no pty: typed keys are not masked")
		}
	}
	// The relay closes what it reads; master stays ours.
	out, err := dup(pair.master)
	if err != nil {
		return err
	}
	if err := s.relay(out, fd, m, true); err != nil {
		return err
	}
	if s.host == nil {
		pair.outputOnly()
		return nil
	}
	pair.session = true
	if input {
		s.files[0] = uintptr(pair.slave)
	}
	if input && !inPipeline() && pair.mayRead() {
		pair.raw()
	}
	return nil
}

// relay starts one.
func (s *streams) relay(from, to int, m *mask.Masker, eager bool) error {
	r, err := newRelay(from, to, m)
	if err != nil {
		return err
	}
	if r.eager = eager; s.host != nil && eager {
		r.host, r.out.passing = s.host, &s.pty.passing
	}
	s.relays = append(s.relays, r)
	go func() {
		r.run(func(err error) { s.lost(streamName(to), err) })
		if r.ended && eager {
			s.ended <- struct{}{}
		}
	}()
	return nil
}

// streamName is what messages call a standard stream.
func streamName(fd int) string {
	return [...]string{"standard input", "standard output", "standard error"}[fd]
}

// setMasker has all that is read from here on masked by m, which knows what the maskers before knew.
func (s *streams) setMasker(m *mask.Masker) {
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

// end says that the command has ended. No more keys are passed to it; what it wrote is passed on, and then what
// its descendants write.
func (s *streams) end() {
	if s.pty != nil {
		s.pty.end()
	}
	for _, r := range s.relays {
		r.end()
	}
	host := s.host // which is forgotten once it has ended
	if host == nil {
		return
	}
	host.background() // its end hangs up on nobody then
	go func() {
		for _, r := range s.relays {
			if r.host != nil {
				<-r.stopped
			}
		}
		host.close()
	}()
}

// abandon ends the streams of a command that wasn't started.
func (s *streams) abandon() {
	s.started()
	s.end()
	s.pty.cook()
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
