package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	among []string
}

// Set takes one of the words, in any case.
func (c *choice) Set(s string) error {
	word, err := setting.Among(s, c.among)
	if err != nil {
		return errors.New(err.Error() + orMeant(nearest.Word(s, c.among)))
	}
	c.value = word
	return nil
}

func (c *choice) String() string { return c.value }

// Type is what pflag wants to know; nothing shows it.
func (c *choice) Type() string { return "choice" }

// meant begins a hint with the known name that was probably meant by an unknown one, where there is one.
func meant(name string, known []string) string {
	if hint := nearest.Hint(name, known); hint != "" {
		return cli.OneLine(hint) + " "
	}
	return ""
}

// orMeant ends an error about a word with the one that was probably meant, where there is one.
func orMeant(word string) string {
	if word == "" {
		return ""
	}
	return ": did you mean " + word + "?"
}

// duration is a flag that takes a length of time, zero or more.
type duration time.Duration

// Set reads what time.ParseDuration does.
func (d *duration) Set(s string) error {
	got, err := time.ParseDuration(setting.Trim(s))
	if err != nil || got < 0 {
		return errors.New("want a length of time such as 500ms, 10s or 2m")
	}
	*d = duration(got)
	return nil
}

func (d *duration) String() string { return time.Duration(*d).String() }

// Type is what pflag wants to know; nothing shows it.
func (d *duration) Type() string { return "duration" }

// words is a flag that takes words between commas, and can be given several times.
type words []string

// Set adds words.
func (w *words) Set(s string) error {
	list, err := setting.List(s)
	*w = append(*w, list...)
	return err
}

func (w *words) String() string { return strings.Join(*w, ",") }

// Type is what pflag wants to know; nothing shows it.
func (w *words) Type() string { return "words" }

// prefix is a flag that takes what a variable's name can begin with, or nothing.
type prefix string

// Set takes letters, digits and _, no digit first.
func (p *prefix) Set(s string) error {
	s = setting.Trim(s)
	for i, c := range []byte(s) {
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && i > 0:
		default:
			return errors.New("want letters, digits and _, no digit first")
		}
	}
	*p = prefix(s)
	return nil
}

func (p *prefix) String() string { return string(*p) }

// Type is what pflag wants to know; nothing shows it.
func (p *prefix) Type() string { return "prefix" }

// mode is a flag that takes a file's permissions, in octal digits.
type mode fs.FileMode

// Set reads octal digits.
func (m *mode) Set(s string) error {
	bits, err := strconv.ParseUint(setting.Trim(s), 8, 12)
	if err != nil || bits == 0 {
		return errors.New("want permissions in octal digits, such as 0600 or 0640")
	}
	*m = mode(bits)
	return nil
}

func (m *mode) String() string { return fmt.Sprintf("%#o", uint32(*m)) }

// Type is what pflag wants to know; nothing shows it.
func (m *mode) Type() string { return "mode" }

// preserve is the flag --preserve-env[=NAMES].
type preserve struct {
	all   bool
	names words
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
	inject.Change
	text string
}

// Set reads what inject.ParseChange does, with its first word in any case.
func (c *change) Set(s string) error {
	s = setting.Trim(s)
	if what, arg, ok := strings.Cut(s, "="); ok {
		s = strings.ToLower(what) + "=" + arg
	} else {
		s = strings.ToLower(s)
	}
	got, err := inject.ParseChange(s)
	if err != nil {
		word := nearest.Word(s, []string{"ignore", "restart"})
		if what, name, ok := strings.Cut(s, "="); ok {
			if word = nearest.Word(what, []string{"signal", "hook"}); word == "signal" {
				word += "=" + cmp.Or(inject.NearestSignal(name), "SIGNAL")
			}
		}
		return errors.New("want ignore, restart, signal=SIGNAL or hook=COMMAND" + orMeant(word))
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

// Set reads what inject.ParseSignal does.
func (f *signalFlag) Set(s string) error {
	got, err := inject.ParseSignal(s)
	if err != nil {
		return errors.New("want a name such as TERM, HUP or RTMIN+1, or a number from 1 to 64" + orMeant(inject.NearestSignal(s)))
	}
	f.number, f.text = got, s
	return nil
}

func (f *signalFlag) String() string { return f.text }

// Type is what pflag wants to know; nothing shows it.
func (f *signalFlag) Type() string { return "signal" }
