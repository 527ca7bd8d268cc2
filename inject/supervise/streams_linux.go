package supervise

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/mask"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// streams are a command's standard streams, and what connects them with this process's.
type streams struct {
	files     [3]int
	pty       *ptyPair
	session   *session // on the pty; may be nil
	childEnds []int    // the command's ends, to close after it has started
	relays    []*relay
	ended     chan struct{} // gets one message when the pty's relay has ended
	owner     *supervisor
}

// plainStreams returns this process's streams.
func (v *supervisor) plainStreams() *streams {
	return &streams{files: [3]int{0, 1, 2}, ended: make(chan struct{}, 1), owner: v}
}

// maskedStreams returns streams that mask the command's output: through a pty if this process's stream is a terminal, else
// through a pipe. If standard output and error are the same file, they share a pipe, which keeps the order.
func (v *supervisor) maskedStreams() (*streams, error) {
	s := v.plainStreams()
	if err := s.mask(); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *streams) mask() error {
	for _, fd := range []int{1, 2} {
		var err error
		switch {
		case inherited.Closed(fd): // closed in the command too
		case isTerminal(fd) && s.pty != nil:
			s.files[fd] = s.pty.slave
		case isTerminal(fd):
			err = s.openPty(fd)
		case fd == 2 && !inherited.Closed(1) && !isTerminal(1) && sameFile(1, 2):
			s.files[2] = s.files[1]
		default:
			s.files[fd], err = s.pipe(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pipe starts a relay to fd and returns the end of a pipe to write to.
func (s *streams) pipe(fd int) (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe for output: %w", err)
	}
	s.childEnds = append(s.childEnds, p[1])
	return p[1], s.relay(p[0], fd, nil)
}

// openPty connects a pty with the terminal fd. If the terminal is the controlling terminal or standard input, the pty gets
// a session, since the command may read keys. The command gets the keys at once if this process may read them and no other
// process in its group does, otherwise when it uses the terminal.
func (s *streams) openPty(fd int) error {
	pair, err := openPty(fd, s.owner.terminal)
	if err != nil {
		return err
	}
	s.pty = pair
	s.files[fd] = pair.slave
	input := sameTerminal(0, fd)
	if pair.terminal != nil || input {
		if s.session, err = startSession(pair.slave); err != nil {
			s.owner.Log.Warn().Err(err).Msg("command has no pty: typed keys are not masked")
		}
	}
	out, err := dup(pair.master) // closed by the relay
	if err != nil {
		return err
	}
	if err := s.relay(out, fd, pair); err != nil {
		return err
	}
	if s.session == nil {
		pair.outputOnly()
		return nil
	}
	pair.session = true
	if input {
		s.files[0] = pair.slave
	}
	if input && !inPipeline() && pair.mayRead() {
		pair.raw()
	}
	return nil
}

// relay starts a relay, which reads from a pty if pair is set.
func (s *streams) relay(from, to int, pair *ptyPair) error {
	r, err := newRelay(from, to, s.owner.masker)
	if err != nil {
		return err
	}
	r.interactive = pair != nil
	if r.interactive && s.session != nil {
		r.session, r.out.passing = s.session, &pair.passing
	}
	s.relays = append(s.relays, r)
	go func() {
		r.run(func(err error) { s.owner.lost(streamName(to), err) })
		if r.ended && r.interactive {
			s.ended <- struct{}{}
		}
	}()
	return nil
}

// streamName returns the name of a standard stream for messages.
func streamName(fd int) string {
	return [...]string{"standard input", "standard output", "standard error"}[fd]
}

// setMasker makes all relays use m from their next read on.
func (s *streams) setMasker(m *mask.Masker) {
	for _, r := range s.relays {
		r.next.Store(m)
	}
}

// started closes this process's copies of the command's ends.
func (s *streams) started() {
	for _, fd := range s.childEnds {
		_ = unix.Close(fd)
	}
	s.childEnds = nil
}

// end is called when the command has ended. It stops passing keys. The relays write the command's output, and then that of
// its descendants.
func (s *streams) end() {
	if s.pty != nil {
		s.pty.end()
	}
	for _, r := range s.relays {
		r.end()
	}
	session := s.session // set to nil when the helper has ended
	if session == nil {
		return
	}
	session.background() // so that the helper's end sends no HUP to descendants
	go func() {
		for _, r := range s.relays {
			if r.session == nil {
				continue
			}
			if <-r.stopped; !r.ended {
				return // parked: the output helper, or this process's end, ends the session
			}
		}
		session.close()
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
