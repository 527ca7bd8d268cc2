package cli

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// exitUsage is the exit code for an invalid command line.
const exitUsage = 2

// usageError is an error of the command line.
type usageError struct{ error }

func (usageError) ExitCode() int   { return exitUsage }
func (u usageError) Unwrap() error { return u.error }

// Usage returns an error of the command line with a hint.
func Usage(err error, hint string) error { return usageError{WithHint(err, hint)} }

// UsageError makes err an error of the command line. Its default hint is the command's help.
func (inv *Invocation) UsageError(err error) error {
	if u, ok := errors.AsType[usageError](err); ok {
		return u
	}
	return Usage(err, cmp.Or(Hint(err), inv.see()))
}

// see returns the hint that names the command's help.
func (inv *Invocation) see() string { return "see " + inv.path + " --help" }

// unknownCommand returns an error with a similar command of the group, or of one of its groups, as its hint.
func (inv *Invocation) unknownCommand(name string) error {
	var names []string
	below := "" // a command of a command, such as secrets rotate
	for _, c := range inv.command.Commands {
		if !c.Hidden {
			names = append(names, c.name())
		}
		for _, sub := range c.Commands {
			if sub.name() == name && below == "" {
				below = "did you mean " + c.name() + " " + name + "?"
			}
		}
	}
	hint := cmp.Or(below, nearest.Hint(name, names)) + " " + inv.see()
	return WithHint(errors.New("unknown command "+Quote(name)), strings.TrimSpace(hint))
}

// NeverAsks adds the flag --yes to a command that has no prompt, so that scripts can give it to every command that deletes.
func NeverAsks(f *pflag.FlagSet) {
	f.Bool("yes", false, "changes nothing: this command asks for no confirmation")
}

// helpCommand returns the command help.
func (a *App) helpCommand() *Command {
	return &Command{
		Use: "help", Hidden: true,
		Args: func([]string) error { return nil },
		Run: func(_ context.Context, inv *Invocation) error {
			about, rest := a.find(inv.Args)
			if len(rest) > 0 {
				return about.UsageError(about.unknownCommand(rest[0]))
			}
			return a.writeHelp(about)
		},
	}
}
