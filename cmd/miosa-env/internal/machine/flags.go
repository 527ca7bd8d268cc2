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

// preserve is the flag --preserve-env[=NAMES].
type preserve struct {
	all   bool
	names setting.List
}

// preserveAll is what pflag sets for a --preserve-env without names. No variable has this name.
const preserveAll = "*"

// Set adds names, or all of them.
func (p *preserve) Set(s string) error {
	if setting.Trim(s) == preserveAll {
		p.all = true
		return nil
	}
	return p.names.Set(s)
}

func (p *preserve) String() string { return p.names.String() }

// Type is what pflag wants to know; nothing shows it.
func (p *preserve) Type() string { return "preserve" }

// change is the flag --on-change.
type change struct {
	supervise.Change
	text string
}

// Set reads what supervise.ParseChange does, with its first word in any case.
func (c *change) Set(s string) error {
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
		return errors.New("want ignore, restart, signal=SIGNAL or hook=COMMAND" + nearest.OrMeant(word))
	}
	c.Change, c.text = got, s
	return nil
}

func (c *change) String() string { return c.text }

// Type is what pflag wants to know; nothing shows it.
func (c *change) Type() string { return "change" }

// signalFlag is a flag that takes a signal.
type signalFlag struct {
	number syscall.Signal
	text   string
}

// Set reads what signal.Parse does.
func (f *signalFlag) Set(s string) error {
	got, err := signal.Parse(s)
	if err != nil {
		return errors.New("want a name such as TERM, HUP or RTMIN+1, or a number from 1 to 64" + nearest.OrMeant(signal.Nearest(s)))
	}
	f.number, f.text = got, s
	return nil
}

func (f *signalFlag) String() string { return f.text }

// Type is what pflag wants to know; nothing shows it.
func (f *signalFlag) Type() string { return "signal" }
