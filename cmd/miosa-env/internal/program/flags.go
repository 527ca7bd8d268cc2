package program

import (
	"errors"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Choice is a flag that takes one of a few words.
type Choice struct {
	Value string
	Among []string
}

// Set takes one of the words, in any case.
func (c *Choice) Set(s string) error {
	word, err := setting.Among(s, c.Among)
	if err != nil {
		return errors.New(err.Error() + OrMeant(nearest.Word(s, c.Among)))
	}
	c.Value = word
	return nil
}

func (c *Choice) String() string { return c.Value }

// Type is what pflag wants to know; nothing shows it.
func (c *Choice) Type() string { return "choice" }

// Meant begins a hint with the known name that was probably meant by an unknown one, where there is one.
func Meant(name string, known []string) string {
	if hint := nearest.Hint(name, known); hint != "" {
		return cli.OneLine(hint) + " "
	}
	return ""
}

// OrMeant ends an error about a word with the one that was probably meant, where there is one.
func OrMeant(word string) string {
	if word == "" {
		return ""
	}
	return ": did you mean " + word + "?"
}

// Duration is a flag that takes a length of time, zero or more.
type Duration time.Duration

// Set reads what time.ParseDuration does.
func (d *Duration) Set(s string) error {
	got, err := time.ParseDuration(setting.Trim(s))
	if err != nil || got < 0 {
		return errors.New("want a length of time such as 500ms, 10s or 2m")
	}
	*d = Duration(got)
	return nil
}

func (d *Duration) String() string { return time.Duration(*d).String() }

// Type is what pflag wants to know; nothing shows it.
func (d *Duration) Type() string { return "duration" }

// Words is a flag that takes words between commas, and can be given several times.
type Words []string

// Set adds words.
func (w *Words) Set(s string) error {
	list, err := setting.List(s)
	*w = append(*w, list...)
	return err
}

func (w *Words) String() string { return strings.Join(*w, ",") }

// Type is what pflag wants to know; nothing shows it.
func (w *Words) Type() string { return "words" }

// Prefix is a flag that takes what a variable's name can begin with, or nothing.
type Prefix string

// Set takes letters, digits and _, no digit first.
func (p *Prefix) Set(s string) error {
	s = setting.Trim(s)
	for i, c := range []byte(s) {
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && i > 0:
		default:
			return errors.New("want letters, digits and _, no digit first")
		}
	}
	*p = Prefix(s)
	return nil
}

func (p *Prefix) String() string { return string(*p) }

// Type is what pflag wants to know; nothing shows it.
func (p *Prefix) Type() string { return "prefix" }
