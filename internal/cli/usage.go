package cli

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// see returns the default hint for wrong usage of a command.
func see(c *cobra.Command) string { return "see " + c.CommandPath() + " --help" }

// NoArguments is the Args function of a command that has only flags.
func NoArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("unexpected argument " + Quote(args[0]))
	}
	return nil
}

// NoCommand is the Args function of a command that only has subcommands. It always returns an error.
func NoCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("a command is missing")
	}
	return unknownCommand(c, args[0])
}

// unknownCommand returns an error with a similar subcommand of c, or of one of its subcommands, as its hint.
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
	hint := cmp.Or(below, nearest.Hint(name, names)) + " " + see(c)
	return WithHint(errors.New("unknown command "+Quote(name)), strings.TrimSpace(hint))
}

// NeverAsks adds the flag --yes to a command that has no prompt, so that scripts can give it to every command that deletes.
func NeverAsks(f *pflag.FlagSet) {
	f.Bool("yes", false, "changes nothing: this command doesn't ask")
}

// HelpCommand returns the command help.
func HelpCommand() *cobra.Command {
	return &cobra.Command{Use: "help", Hidden: true, RunE: func(c *cobra.Command, args []string) error {
		about, rest, _ := c.Root().Find(args) // an error means that rest isn't empty
		if len(rest) > 0 {
			return unknownCommand(about, rest[0])
		}
		return about.Help()
	}}
}
