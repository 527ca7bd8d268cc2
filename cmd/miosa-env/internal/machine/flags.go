package machine

import (
	"cmp"
	"errors"
	"strings"
	"syscall"

	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/inject/supervise"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// allNames is the value of --preserve-env without names. No variable has this name.
const allNames = "*"

// preserveValue is the flag --preserve-env[=NAMES].
func (f *runFlags) preserveValue() *setting.Value {
	v := setting.List(&f.preserve)
	return setting.Of(v.Type(), &f.preserve, func(s string) ([]string, error) {
		if setting.Trim(s) == allNames {
			f.preserveAll = true
			return f.preserve, nil
		}
		err := v.Set(s)
		return f.preserve, err
	}, func([]string) string { return v.String() })
}

// change is the flag --on-change.
type change struct {
	supervise.Change
	text string
}

func (c change) String() string { return c.text }

// parseChange accepts what supervise.ParseChange does, with its first word in any case.
func parseChange(s string) (change, error) {
	s = setting.Trim(s)
	if what, arg, ok := strings.Cut(s, "="); ok {
		s = strings.ToLower(what) + "=" + arg
	} else {
		s = strings.ToLower(s)
	}
	got, err := supervise.ParseChange(s)
	if err != nil {
		word := nearest.Word(s, []string{"ignore", "restart"})
		if what, name, ok := strings.Cut(s, "="); ok {
			if word = nearest.Word(what, []string{"signal", "hook"}); word == "signal" {
				word += "=" + cmp.Or(signal.Nearest(name), "SIGNAL")
			}
		}
		err = errors.New("want ignore, restart, signal=SIGNAL or hook=COMMAND" + nearest.OrMeant(word))
	}
	return change{got, s}, err
}

// stopSignal is the flag --stop-signal.
type stopSignal struct {
	number syscall.Signal
	text   string
}

func (s stopSignal) String() string { return s.text }

// parseSignal accepts what signal.Parse does.
func parseSignal(s string) (stopSignal, error) {
	got, err := signal.Parse(s)
	if err != nil {
		err = errors.New("want a name such as TERM, HUP or RTMIN+1, or a number from 1 to 64" + nearest.OrMeant(signal.Nearest(s)))
	}
	return stopSignal{got, s}, err
}
