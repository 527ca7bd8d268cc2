// Package supervise runs a command as a child process: it forwards signals, passes on the terminal, masks output, and
// restarts or signals the command when its environment changes.
//
// docs/architecture.md describes its behavior, "Replace or supervise".
package supervise

import (
	"cmp"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
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

// ParseChange parses "ignore", "restart", "signal=HUP" or "hook=COMMAND". Its words may be in any case.
func ParseChange(s string) (Change, error) {
	what, arg, hasArg := strings.Cut(s, "=")
	what = strings.ToLower(what)
	meant := nearest.Word(what, []string{"ignore", "restart"})
	switch {
	case !hasArg && what == "ignore":
		return Change{}, nil
	case !hasArg && what == "restart":
		return Change{Restart: true}, nil
	case what == "hook" && arg != "":
		return Change{Hook: arg}, nil
	case hasArg && what == "hook":
		meant = "" // its command is missing, which the words below say
	case hasArg:
		meant = nearest.Word(what, []string{"signal", "hook"})
	}
	if meant == "signal" {
		n, err := signal.Parse(arg)
		like := signal.Nearest(arg)
		switch {
		case err == nil && what == meant:
			return Change{Signal: n}, nil
		case what == meant && like == "":
			return Change{}, err
		}
		meant += "=" + cmp.Or(like, "SIGNAL")
	}
	return Change{}, errors.New("want ignore, restart, signal=SIGNAL or hook=COMMAND" + nearest.OrMeant(meant))
}

// String returns c as ParseChange reads it.
func (c Change) String() string {
	switch {
	case c.Restart:
		return "restart"
	case c.Signal != 0:
		return "signal=" + signal.Name(c.Signal)
	case c.Hook != "":
		return "hook=" + c.Hook
	}
	return "ignore"
}

// Ignored reports whether a change has no effect.
func (c Change) Ignored() bool { return c == Change{} }
