package agent

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// maxWords is how much a service manager is told of an error, in bytes.
const maxWords = 300

// settled tells whether the values are in place: there is a set, from the vault or the cache, and each output
// has been tried. One that couldn't be written counts: its status says why, it is tried again, and the others
// needn't wait for it. Once that was so it is enough that nothing is under way: a vault that refuses has
// taken the values away, and that is where they are to be.
func (s *Status) settled(before bool) bool {
	serves := s.State == Fresh || s.State == Stale
	for _, o := range s.Outputs {
		if o.State == Pending || o.State == Removed && serves {
			return false
		}
	}
	return serves || before && s.State == Refused
}

// words is the status in one line, which holds no control character.
func (s *Status) words() string {
	text := ""
	switch s.State {
	case Starting:
		text = "waiting for the vault" + s.because()
	case Refused:
		text = "refused: nothing is served" + s.because()
	case Fresh:
		text = count(s.Bindings, "value") + ", fresh"
	case Stale:
		text = count(s.Bindings, "value") + ", stale: last confirmed " + s.ConfirmedAt.Format(time.RFC3339) + s.because()
	}
	states := map[OutputState]int{}
	for _, o := range s.Outputs {
		if o.State == Removed && s.State != Refused {
			o.State = Pending
		}
		states[o.State]++
	}
	for _, state := range []OutputState{Pending, Failed, Unfit} {
		if n := states[state]; n > 0 && s.State != Starting {
			text += "; " + count(n, "output") + " " + string(state)
		}
	}
	return oneLine(text)
}

// because is the last error, where it is what keeps the agent in its state.
func (s *Status) because() string {
	if s.LastError == "" || s.LastErrorAt.Before(s.ConfirmedAt) {
		return ""
	}
	why := s.LastError
	if len(why) > maxWords {
		why = why[:maxWords] + "..."
	}
	return ": " + why
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// oneLine takes out what would end a line of the protocol, and what isn't UTF-8. Part of an error may be the
// vault's.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
