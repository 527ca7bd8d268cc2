// Package flags takes flags as people write them, and says in plain words what is wrong with one.
package flags

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// boolean is a flag of pflag's that takes what setting.Bool does.
type boolean struct{ pflag.Value }

func (b boolean) Set(s string) error {
	on, err := setting.Bool(s)
	if err != nil {
		return err
	}
	return b.Value.Set(map[bool]string{true: "true", false: "false"}[on])
}

// Prepare lets the boolean flags of a command and of those below it take what setting.Bool does.
func Prepare(c *cobra.Command) {
	for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if _, done := f.Value.(boolean); !done && f.Value.Type() == "bool" {
				f.Value = boolean{f.Value}
			}
		})
	}
	for _, sub := range c.Commands() {
		Prepare(sub)
	}
}

// Text is a flag that takes text without the white space around it. It is for what no white space belongs to: URLs, ids.
type Text string

// Set trims and takes s.
func (t *Text) Set(s string) error {
	*t = Text(setting.Trim(s))
	return nil
}

func (t *Text) String() string { return string(*t) }

// Type is the type of a flag of text, as pflag has it.
func (t *Text) Type() string { return "string" }

// Word is Text in lower case, for words of which the vault says which there are.
type Word string

// Set trims, lowers and takes s.
func (w *Word) Set(s string) error {
	*w = Word(strings.ToLower(setting.Trim(s)))
	return nil
}

func (w *Word) String() string { return string(*w) }

// Type is the type of a flag of text, as pflag has it.
func (w *Word) Type() string { return "string" }

// Error says in plain words what pflag has said of a command line. Other errors are returned as they are.
func Error(err error) error {
	var (
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
		unknown *pflag.NotExistError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &value):
		return wrongValue(value)
	case errors.As(err, &missing):
		return fmt.Errorf("--%s needs a value: %s", missing.GetFlag().Name, shape(missing.GetFlag()))
	case errors.As(err, &unknown):
		if shorts := unknown.GetSpecifiedShortnames(); shorts != "" {
			return fmt.Errorf("unknown flag: -%s", shorts)
		}
	case errors.As(err, &syntax):
		return fmt.Errorf("%q isn't a flag: want --NAME or --NAME=VALUE", syntax.GetSpecifiedFlag())
	}
	return err
}

// wrongValue says the name of the flag, the value, and what is wanted instead.
func wrongValue(e *pflag.InvalidValueError) error {
	f := e.GetFlag()
	want := e.Unwrap()
	switch f.Value.Type() {
	case "bool":
		want = setting.ErrBool
	case "int":
		want = errors.New("want a whole number")
	case "float64":
		want = errors.New("want a number")
	case "duration":
		want = errors.New("want a length of time such as 500ms, 10s or 2m")
	}
	return fmt.Errorf("--%s %q: %w", f.Name, Short(e.GetValue()), want)
}

// Short is text as an error repeats it.
func Short(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// shape is how a flag is given.
func shape(f *pflag.Flag) string {
	argument, _ := pflag.UnquoteUsage(f)
	return "--" + f.Name + " " + argument
}
