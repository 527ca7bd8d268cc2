package inject

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// session is a terminal session on a pty, led by a helper that also is the command's parent. So the command is to the
// kernel what a shell's job is: it can be stopped, by a key or by itself, and be told to ask for the terminal; and its
// end doesn't hang up on the processes that it leaves behind.
// docs/adr/0013-masked-output.md says what else was tried.
type session struct {
	conn   int // to the helper, which ends when this is closed
	group  int // the helper's process group: in the pty's foreground while the command shouldn't be
	events chan sessionEvent
}

// sessionOrder is what the helper is to do.
type sessionOrder struct {
	Start      *sessionCommand `json:",omitempty"`
	Foreground int             `json:",omitempty"` // the process group to put in the pty's foreground
	Continue   int             `json:",omitempty"` // the process group to continue then
	Reap       bool            `json:",omitempty"` // the command, whose end was reported
}

// sessionCommand is a command to start. Its open standard streams come along, in order.
type sessionCommand struct {
	Path       []byte
	Args, Env  [][]byte
	Closed     [3]bool
	Foreground bool
	Asks       bool           // see Command
	Death      syscall.Signal // what the command gets when the helper dies
	Names      int            // the process id by which variables such as LISTEN_PID name the command
}

// sessionEvent is what the helper reports.
type sessionEvent struct {
	PID    int           `json:",omitempty"` // of the command, which runs now
	Errno  syscall.Errno `json:",omitempty"` // why it couldn't be started
	Status uint32        `json:",omitempty"` // of the command: it was stopped, or has ended
	Ended  bool          `json:",omitempty"` // it has ended, and is to be reaped
	Reaped bool          `json:",omitempty"`
	gone   bool          // the helper is
}

// startSession starts a session on the pty whose slave is given.
func startSession(slave int) (*session, error) {
	pid, conn, err := startHelper(sessionHelper, slave, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1})
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, group: pid, events: make(chan sessionEvent)}, nil
}

// start starts the command, and has its statuses sent to events from then on.
// Errors: *StartError, or that the helper doesn't answer.
func (s *session) start(c Command, files [3]uintptr, foreground bool, death syscall.Signal) (pid int, err error) {
	order := sessionCommand{Path: []byte(c.Path), Foreground: foreground, Asks: c.asks, Death: death, Names: unix.Getpid()}
	for _, arg := range c.Args {
		order.Args = append(order.Args, []byte(arg))
	}
	for _, entry := range c.Env {
		order.Env = append(order.Env, []byte(entry))
	}
	var fds []int
	for i, fd := range files {
		if order.Closed[i] = inherited.Closed(int(fd)); order.Closed[i] {
			continue
		}
		fds = append(fds, int(fd))
	}
	if err := send(s.conn, sessionOrder{Start: &order}, fds...); err != nil {
		return 0, err
	}
	var answer sessionEvent
	if _, err := receive(s.conn, &answer); err != nil {
		return 0, fmt.Errorf("start the command in a session: %w", err)
	}
	if answer.Errno != 0 {
		return 0, startError(c.Path, answer.Errno)
	}
	_ = unix.SetsockoptTimeval(s.conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{})
	go s.read()
	return answer.PID, nil
}

// read passes on what the helper reports, until it ends.
func (s *session) read() {
	for {
		var e sessionEvent
		if _, err := receive(s.conn, &e); err != nil {
			s.events <- sessionEvent{gone: true}
			return
		}
		s.events <- e
	}
}

// foreground puts a process group in the pty's foreground, and continues another one then; 0 is none.
func (s *session) foreground(group, resume int) {
	_ = send(s.conn, sessionOrder{Foreground: group, Continue: resume})
}

// background puts the helper's group there: the command is stopped when it asks for the terminal.
func (s *session) background() { s.foreground(s.group, 0) }

// close ends the helper.
func (s *session) close() { _ = unix.Shutdown(s.conn, unix.SHUT_RDWR) }

// reap frees the id of a command whose end was reported.
func (s *session) reap() {
	if send(s.conn, sessionOrder{Reap: true}) != nil {
		return
	}
	for e := range s.events {
		if e.Reaped || e.gone {
			return
		}
	}
}

// sessionEvents is nil where there is no session.
func (v *supervisor) sessionEvents() <-chan sessionEvent {
	if v.streams == nil || v.streams.host == nil {
		return nil
	}
	return v.streams.host.events
}

// reported acts on what the helper says of the command.
func (v *supervisor) reported(e sessionEvent) {
	status := unix.WaitStatus(e.Status)
	switch {
	case e.gone:
		v.streams.host = nil
		if v.pid != 0 && unix.Kill(v.pid, 0) != nil {
			v.ended(unix.WaitStatus(ExitFailed << 8)) // else it is our child now, or will be reaped by process 1
		}
	case v.pid == 0:
	case e.Ended:
		v.streams.host.reap()
		v.ended(status)
	case status.Stopped():
		v.stopped(status.StopSignal())
	}
}
