// Package supervise runs a command as a child process: it forwards signals, passes on the terminal, masks output, and
// restarts or signals the command when its environment changes.
//
// docs/architecture.md describes its behavior, "Replace or supervise".
package supervise

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/inject/signal"
)

// Defaults of Supervision.
const (
	DefaultStopTimeout = 10 * time.Second
	DefaultSettle      = 100 * time.Millisecond
)

// Change is what happens to a command when its environment has changed. The zero Change is to ignore it.
type Change struct {
	Restart bool           // stop the command and start it with the new environment
	Signal  syscall.Signal // send it this signal
	Hook    string         // run this with sh -c, in the new environment
}

// ParseChange parses "ignore", "restart", "signal=HUP" or "hook=COMMAND".
func ParseChange(s string) (Change, error) {
	what, arg, _ := strings.Cut(s, "=")
	switch {
	case s == "ignore":
		return Change{}, nil
	case s == "restart":
		return Change{Restart: true}, nil
	case what == "signal" && arg != "":
		n, err := signal.Parse(arg)
		return Change{Signal: n}, err
	case what == "hook" && arg != "":
		return Change{Hook: arg}, nil
	}
	return Change{}, fmt.Errorf("%q: want ignore, restart, signal=SIGNAL or hook=COMMAND", s)
}

// Ignored reports whether a change has no effect.
func (c Change) Ignored() bool { return c == Change{} }
