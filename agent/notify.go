package agent

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// tellEvery is how often a service manager is told that a start takes longer, where it has no watchdog.
const tellEvery = 10 * time.Second

// Notifier tells the service manager how an agent is doing, by the protocol of sd_notify(3). All its methods
// are for one goroutine: the one whose work the manager's watchdog is to watch. A nil Notifier tells nobody.
type Notifier struct {
	socket   string
	every    time.Duration
	watchdog bool // wants to be fed, each time
	tick     *time.Ticker
	log      zerolog.Logger

	ready     bool   // it was told that values are in place
	reloading bool   // it was told so, and not yet that it is over
	status    string // that it was told last
	failing   bool   // the last message didn't get through
}

// notified is what a Notifier tells of. Agent is one.
type notified interface {
	Status() Status
	Alive() bool
}

// NewNotifier is for the manager that started this process, by its variables, which get gives; nil if there
// is none. Close it at the end.
func NewNotifier(get func(name string) string, log zerolog.Logger) *Notifier {
	n := &Notifier{socket: get("NOTIFY_SOCKET"), every: tellEvery, log: log}
	if n.socket == "" {
		return nil
	}
	pid := get("WATCHDOG_PID")
	if us, err := strconv.ParseUint(get("WATCHDOG_USEC"), 10, 50); err == nil && us > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog, n.every = true, max(time.Duration(us)*time.Microsecond/3, time.Millisecond)
	}
	n.tick = time.NewTicker(n.every)
	return n
}

// ForgetManager takes the service manager's variables out of this process's environment: what it starts isn't
// the service's main process, and has nothing to tell.
func ForgetManager() error {
	var errs []error
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"} {
		errs = append(errs, os.Unsetenv(name))
	}
	return errors.Join(errs...)
}

// Tick tells when to call Beat. It never does for a nil Notifier.
func (n *Notifier) Tick() <-chan time.Time {
	if n == nil {
		return nil
	}
	return n.tick.C
}

// Tell sends what has changed since it was called last: that values are in place (see settled), and the status
// in words.
func (n *Notifier) Tell(a notified) {
	if n == nil {
		return
	}
	s := a.Status()
	ready := (!n.ready || n.reloading) && s.settled(n.ready)
	words := s.words()
	if !ready && words == n.status {
		return
	}
	message := "STATUS=" + words
	if ready {
		message = "READY=1\n" + message
	}
	if n.send(message) {
		n.status = words
		if ready {
			n.ready, n.reloading = true, false
		}
	}
}

// Beat feeds the watchdog, and asks for more time while values aren't in place, unless the agent hangs. What
// didn't get through is told again.
func (n *Notifier) Beat(a notified) {
	if n == nil || !a.Alive() {
		return
	}
	var lines []string
	if n.watchdog {
		lines = append(lines, "WATCHDOG=1")
	}
	if !n.ready || n.reloading {
		lines = append(lines, "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(3*n.every.Microseconds(), 10))
	}
	if len(lines) > 0 {
		n.send(strings.Join(lines, "\n"))
	}
	n.Tell(a)
}

// Reloading tells that the configuration is read anew. Tell says when that is over.
func (n *Notifier) Reloading() {
	if n == nil || !n.ready || n.reloading {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return
	}
	n.reloading = n.send("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10))
}

// Stopping tells that the agent is about to end, as it was told to.
func (n *Notifier) Stopping() {
	if n != nil {
		n.send("STOPPING=1\nSTATUS=stopping")
	}
}

// Close ends Tick.
func (n *Notifier) Close() {
	if n != nil {
		n.tick.Stop()
	}
}

// send sends one message, and tells whether the manager has it. It doesn't wait for a manager that is behind.
func (n *Notifier) send(message string) bool {
	err := sendDatagram(n.socket, message)
	if err != nil && !n.failing {
		n.log.Warn().Err(err).Msg("the service manager can't be notified: trying again")
	}
	n.failing = err != nil
	return err == nil
}

// sendDatagram sends to a socket by its path, or its abstract name after an @. The connection is a new one each
// time: the manager may have made its socket anew.
func sendDatagram(socket, message string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		_, err = unix.Write(int(fd), []byte(message)) // which doesn't block: the runtime has its sockets so
	})
	return errors.Join(controlErr, err)
}
