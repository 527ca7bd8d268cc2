package inject

import (
	"fmt"
	"strings"
	"syscall"
)

// Change says what a supervised command is done to when what it was given has changed. The zero
// Change is to ignore it.
type Change struct {
	Restart bool           // stop it and start it again with the new environment
	Signal  syscall.Signal // send it this signal
	Hook    string         // run this with sh -c, in the new environment
}

// ParseChange reads "ignore", "restart", "signal=HUP" or "hook=COMMAND".
func ParseChange(s string) (Change, error) {
	what, arg, _ := strings.Cut(s, "=")
	switch {
	case s == "ignore":
		return Change{}, nil
	case s == "restart":
		return Change{Restart: true}, nil
	case what == "signal" && arg != "":
		n, err := ParseSignal(arg)
		return Change{Signal: n}, err
	case what == "hook" && arg != "":
		return Change{Hook: arg}, nil
	}
	return Change{}, fmt.Errorf("%q: want ignore, restart, signal=SIGNAL or hook=COMMAND", s)
}

// Ignored tells whether nothing is done.
func (c Change) Ignored() bool { return c == Change{} }
