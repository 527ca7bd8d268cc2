package cli

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/flags"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// See is the hint for wrong usage of a command that has no better one.
func See(c *cobra.Command) string { return "see " + c.CommandPath() + " --help" }

// NoArguments is the Args of a command that takes flags only.
func NoArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("unexpected argument " + Quote(args[0]))
	}
	return nil
}

// NoCommand is the Args of a command that only has commands: it lets nothing through.
func NoCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("a command is missing")
	}
	return unknownCommand(c, args[0])
}

// unknownCommand says which command of c was probably meant, or of a command of c.
func unknownCommand(c *cobra.Command, name string) error {
	var names []string
	below := "" // a command of a command, such as secrets rotate
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
		for _, s := range sub.Commands() {
			if s.Name() == name && below == "" {
				below = "did you mean " + sub.Name() + " " + name + "?"
			}
		}
	}
	hint := cmp.Or(below, nearest.Hint(name, names)) + " " + See(c)
	return WithHint(errors.New("unknown command "+Quote(name)), strings.TrimSpace(hint))
}

// NeverAsks adds the flag --yes to a command that asks nothing, so that scripts can give it to every command that takes something
// away.
func NeverAsks(f *pflag.FlagSet) {
	f.Bool("yes", false, "changes nothing: this command doesn't ask")
}

// HelpCommand is the command help of every program.
func HelpCommand() *cobra.Command {
	return &cobra.Command{Use: "help", Hidden: true, RunE: func(c *cobra.Command, args []string) error {
		about, rest, _ := c.Root().Find(args) // its error is that of rest
		if len(rest) > 0 {
			return unknownCommand(about, rest[0])
		}
		return about.Help()
	}}
}

// FlagError says in plain words what pflag has said of a command line, and which flag was probably meant by an unknown one.
func FlagError(c *cobra.Command, err error) error {
	said := flags.Error(err)
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return said
	}
	// A single dash is an abbreviation of its letters: -only is taken for -o -n -l -y.
	typed := strings.TrimLeft(cmp.Or(unknown.GetSpecifiedShortnames(), unknown.GetSpecifiedName()), "-")
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if word := nearest.Word(typed, names); word != "" {
		return WithHint(said, "did you mean --"+word+"? "+See(c))
	}
	return said
}
