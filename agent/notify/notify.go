// Package notify reports an agent's state to the service manager that started it.
// Source: sd_notify(3).
package notify

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent"
)

// extendEvery is how often more time is asked for during a start, if there is no watchdog.
const extendEvery = 10 * time.Second

// Notifier reports to the service manager. All its methods are called by one goroutine: the one that the manager's
// watchdog is to watch. A nil Notifier does nothing.
type Notifier struct {
	socket   string
	every    time.Duration
	watchdog bool // the manager wants a message each time
	tick     *time.Ticker
	log      zerolog.Logger

	ready     bool   // reported: values are in place
	reloading bool   // reported, and not yet that it is over
	status    string // reported last
	failing   bool   // the last message didn't get through
}

// New returns a Notifier for the manager that started this process, or nil if there is none. get returns environment
// variables. The Notifier must be closed.
func New(get func(name string) string, log zerolog.Logger) *Notifier {
	n := &Notifier{socket: get("NOTIFY_SOCKET"), every: extendEvery, log: log}
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

// ForgetManager removes the service manager's variables from this process's environment, since the processes that it
// starts aren't the service's main process.
func ForgetManager() error {
	var errs []error
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"} {
		errs = append(errs, os.Unsetenv(name))
	}
	return errors.Join(errs...)
}

// Tick sends when Beat is to be called; a nil Notifier's never does.
func (n *Notifier) Tick() <-chan time.Time {
	if n == nil {
		return nil
	}
	return n.tick.C
}

// Update reports changes since the last call: that values are in place (see settled), and the status line.
func (n *Notifier) Update(e *agent.Engine) {
	if n == nil {
		return
	}
	s := e.Status()
	n.Report(settled(&s, n.ready), line(&s))
}

// Report reports changes since the last call: that the service is ready, and its status in one line.
func (n *Notifier) Report(ready bool, words string) {
	if n == nil {
		return
	}
	ready = ready && (!n.ready || n.reloading)
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

// Beat resets the watchdog, and asks for more time while values aren't in place, unless the agent hangs. It repeats a
// message that couldn't be sent.
func (n *Notifier) Beat(e *agent.Engine) {
	if n == nil || !e.Alive() {
		return
	}
	n.Alive()
	n.Update(e)
}

// Alive resets the watchdog, and asks for more time until the service is ready.
func (n *Notifier) Alive() {
	if n == nil {
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
}

// Reloading reports that the configuration is read again. Update reports the end of that.
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

// Stopping reports that the agent is about to end, as it was asked to.
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

// send sends one message, and reports whether the manager has it. It doesn't wait for a manager that is behind.
func (n *Notifier) send(message string) bool {
	err := sendDatagram(n.socket, message)
	if err != nil && !n.failing {
		n.log.Warn().Err(err).Msg("cannot notify service manager: retrying")
	}
	n.failing = err != nil
	return err == nil
}

// sendDatagram sends to a socket, given by its path or by its abstract name after an @. It connects each time, since the
// manager may have created its socket anew.
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
		_, err = unix.Write(int(fd), []byte(message)) // doesn't block: the runtime's sockets are non-blocking
	})
	return errors.Join(controlErr, err)
}
