package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/Miosa-osa/miosa-env/agent"
)

// maxError is how much of an error a status line has, in bytes.
const maxError = 300

// settled reports whether the values are in place: there is a set, from the vault or the cache, and each output has been
// tried. An output that couldn't be written counts: its status has the error, it is retried, and the others need not wait for
// it. After the first time (before), a refusal counts too: its values have been removed.
func settled(s *agent.Status, before bool) bool {
	serves := s.State == agent.Fresh || s.State == agent.Stale
	for _, o := range s.Outputs {
		if o.State == agent.Pending || o.State == agent.Removed && serves {
			return false
		}
	}
	return serves || before && s.State == agent.Refused
}

// line is the status in one line, without control characters.
func line(s *agent.Status) string {
	text := ""
	switch s.State {
	case agent.Starting:
		text = "waiting for the vault" + because(s)
	case agent.Refused:
		text = "refused: nothing is served" + because(s)
	case agent.Fresh:
		text = count(s.Bindings, "value") + ", fresh"
	case agent.Stale:
		text = count(s.Bindings, "value") + ", stale: last confirmed " + s.ConfirmedAt.Format(time.RFC3339) + because(s)
	}
	states := map[agent.OutputState]int{}
	for _, o := range s.Outputs {
		if o.State == agent.Removed && s.State != agent.Refused {
			o.State = agent.Pending
		}
		states[o.State]++
	}
	for _, state := range []agent.OutputState{agent.Pending, agent.Failed, agent.Unfit} {
		if n := states[state]; n > 0 && s.State != agent.Starting {
			text += "; " + count(n, "output") + " " + string(state)
		}
	}
	return oneLine(text)
}

// because is the last error, if it is what keeps the agent in its state.
func because(s *agent.Status) string {
	if s.LastError == "" || s.LastErrorAt.Before(s.ConfirmedAt) {
		return ""
	}
	why := s.LastError
	if len(why) > maxError {
		why = why[:maxError] + "..."
	}
	return ": " + why
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// oneLine removes what would end a line of the protocol, and what isn't UTF-8. Part of an error may be the vault's.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
