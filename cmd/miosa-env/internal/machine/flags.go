package machine

import (
	"cmp"
	"errors"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/inject/supervise"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// addSelection adds the flags that select bindings and name their variables.
func addSelection(f *pflag.FlagSet, e *environ.Environment) {
	f.Var(setting.List(&e.Only), "only", "`NAMES` take only bindings with these names, or that match a pattern such as 'DB_*'")
	f.Var(setting.Prefix(&e.Prefix), "prefix", "`TEXT` put this before each bound name; --only means names without it")
	f.Var(setting.List(&e.Require), "require", "`NAMES` fail if one of these isn't set")
	f.Var(setting.List(&e.AllowNames), "allow-name", "`NAMES` let bindings set these though they run code or move traffic")
}

// warn logs the warnings of Build.
func warn(log zerolog.Logger, warnings []environ.Warning) {
	var platform []string
	for _, w := range warnings {
		switch w.Kind {
		case environ.WarnOnly:
			event := log.Warn().Str("only", w.Name)
			if w.Meant != "" {
				event = event.Str("did_you_mean", w.Meant)
			}
			event.Msg("--only matches no binding")
		case environ.WarnPlatform:
			platform = append(platform, w.Name)
		default:
			log.Warn().Str("binding_id", w.Binding).Str("name", w.Name).Msg("binding sets a name that changes how programs behave")
		}
	}
	if len(platform) > 0 {
		log.Warn().Strs("names", platform).Msg("variables kept as set by the platform: bindings have no placeholder_token")
	}
}

// allNames is the value of --preserve-env without names. No variable has this name.
const allNames = "*"

// preserveNames is the value of --preserve-env[=NAMES].
func preserveNames(e *environ.Environment) *setting.Value {
	v := setting.List(&e.PreserveNames)
	return setting.Of(v.Type(), &e.PreserveNames, func(s string) ([]string, error) {
		if setting.Trim(s) == allNames {
			e.PreserveEnv = true
			return e.PreserveNames, nil
		}
		err := v.Set(s)
		return e.PreserveNames, err
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
	what, arg, hasArg := strings.Cut(setting.Trim(s), "=")
	what = strings.ToLower(what)
	s = what
	if hasArg {
		s += "=" + arg
	}
	got, err := supervise.ParseChange(s)
	if err != nil {
		word := nearest.Word(s, []string{"ignore", "restart"})
		if hasArg {
			if word = nearest.Word(what, []string{"signal", "hook"}); word == "signal" {
				word += "=" + cmp.Or(signal.Nearest(arg), "SIGNAL")
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
