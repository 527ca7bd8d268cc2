package supervise

import (
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// session is a terminal session on a pty. It is led by a helper that is also the command's parent, so that for the kernel
// the command is like a job of a shell: a key or the command itself can stop it, it is stopped when it uses the terminal
// from the background, and its end sends no HUP to the processes that it leaves.
// docs/adr/0013-masked-output.md describes the alternatives.
type session struct {
	group  int // the helper's process group: in the pty's foreground while the command shouldn't be
	events chan sessionEvent
	closed chan struct{} // by close: nobody receives events any more

	mu   sync.Mutex // guards the fields below
	conn int        // to the helper, which ends when this is closed; -1: closed
	kept bool       // conn stays open until this process ends
}

// sessionOrder tells the helper what to do.
type sessionOrder struct {
	Start      *sessionCommand `json:",omitempty"`
	Foreground int             `json:",omitempty"` // process group to put in the pty's foreground
	Continue   int             `json:",omitempty"` // process group to continue afterwards
	Reap       bool            `json:",omitempty"` // reap the command, whose end was reported
}

// sessionCommand is a command to start. Its open standard streams are sent with it, in order.
type sessionCommand struct {
	Path      []byte
	Args, Env [][]byte
	Attr      command.Attr // Files are those that are sent, except -1
	Names     int          // the process id to replace in variables such as LISTEN_PID
}

// sessionEvent is what the helper reports.
type sessionEvent struct {
	PID    int           `json:",omitempty"` // of the command, which runs now
	Errno  syscall.Errno `json:",omitempty"` // why it couldn't be started
	Status uint32        `json:",omitempty"` // of the command, which was stopped or has ended
	Ended  bool          `json:",omitempty"` // it has ended and must be reaped
	Reaped bool          `json:",omitempty"`
	gone   bool          // the helper is gone
}

// startSession starts a session on the pty with the given slave.
func startSession(slave int) (*session, error) {
	pid, conn, err := startHelper(sessionHelper, slave, syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1})
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, group: pid, events: make(chan sessionEvent), closed: make(chan struct{})}, nil
}

// start starts the command. Its stops and its end are sent to events. The helper opens attr.Ctty itself.
//
// Errors: those of command.StartError, or that the helper doesn't respond.
func (s *session) start(c command.Command, attr command.Attr) (pid int, err error) {
	defer func() {
		if err != nil {
			s.hangUp() // which ends the helper
		}
	}()
	order := sessionCommand{Path: []byte(c.Path), Attr: attr, Names: unix.Getpid()}
	for _, arg := range c.Args {
		order.Args = append(order.Args, []byte(arg))
	}
	for _, entry := range c.Env {
		order.Env = append(order.Env, []byte(entry))
	}
	var fds []int
	for i, fd := range attr.Files {
		if inherited.Closed(fd) {
			order.Attr.Files[i] = -1
		} else {
			fds = append(fds, fd)
		}
	}
	if err := send(s.conn, sessionOrder{Start: &order}, fds...); err != nil {
		return 0, err
	}
	var answer sessionEvent
	if _, err := receive(s.conn, &answer); err != nil {
		return 0, fmt.Errorf("start the command in a session: %w", err)
	}
	if answer.Errno != 0 {
		return 0, command.StartError(c.Path, answer.Errno)
	}
	_ = unix.SetsockoptTimeval(s.conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{})
	go s.read(s.conn)
	return answer.PID, nil
}

// read sends the helper's reports to events until it ends, and closes the connection.
func (s *session) read(conn int) {
	for gone := false; !gone; {
		var e sessionEvent
		if _, err := receive(conn, &e); err != nil {
			s.hangUp()
			e, gone = sessionEvent{gone: true}, true
		}
		select {
		case s.events <- e:
		case <-s.closed:
		}
	}
}

// hangUp closes the connection, unless it is kept.
func (s *session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn >= 0 && !s.kept {
		_ = unix.Close(s.conn)
		s.conn = -1
	}
}

// keep returns the connection, which stays open until this process ends, or -1.
func (s *session) keep() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = true
	return s.conn
}

// order sends an order to the helper.
func (s *session) order(o sessionOrder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn < 0 {
		return unix.EPIPE
	}
	return send(s.conn, o)
}

// foreground puts a process group in the pty's foreground, and then continues another group; 0 means none.
func (s *session) foreground(group, resume int) {
	_ = s.order(sessionOrder{Foreground: group, Continue: resume})
}

// background puts the helper's group in the foreground, so that the command is stopped when it uses the terminal.
func (s *session) background() { s.foreground(s.group, 0) }

// close ends the helper. read closes the connection then, if it was started.
func (s *session) close() {
	s.mu.Lock()
	if s.conn >= 0 {
		_ = unix.Shutdown(s.conn, unix.SHUT_RDWR)
	}
	s.mu.Unlock()
	close(s.closed)
}

// reap reaps a command whose end was reported.
func (s *session) reap() {
	if s.order(sessionOrder{Reap: true}) != nil {
		return
	}
	for e := range s.events {
		if e.Reaped || e.gone {
			return
		}
	}
}

// sessionEvents returns nil if there is no session.
func (v *supervisor) sessionEvents() <-chan sessionEvent {
	if v.streams == nil || v.streams.session == nil {
		return nil
	}
	return v.streams.session.events
}

// reported handles a report of the helper.
func (v *supervisor) reported(e sessionEvent) {
	status := unix.WaitStatus(e.Status)
	switch {
	case e.gone:
		v.streams.session = nil
		// A command that still runs is this process's child now, or will be reaped by process 1.
		if v.pid != 0 && unix.Kill(v.pid, 0) != nil {
			v.ended(unix.WaitStatus(command.ExitFailed << 8))
		}
	case v.pid == 0:
	case e.Ended:
		v.streams.session.reap()
		v.ended(status)
	case status.Stopped():
		v.stopped(status.StopSignal())
	}
}
