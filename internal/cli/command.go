package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// App is a program with commands. This is our own: spf13/cobra made miosa-env 0.4 MB larger, and regular expressions were compiled
// at each start (docs/adr/0018-command-tree.md).
type App struct {
	Root    *Command
	Version string
	Out     io.Writer // of help, --version and completion
	Other   string    // the Group of the commands completion and version

	SortFlags   bool                     // lists flags by name, not in the order in which they were added
	SharedTitle string                   // of the root's flags in help
	Variable    func(*pflag.Flag) string // the environment variable of a flag, "" if it has none; may be nil
	FlagError   func(error) error        // a better error about flags than pflag's, nil if there is none; may be nil
}

// Command is a command, or a group of commands.
type Command struct {
	Use     string // its name, and what follows that in a usage line
	Short   string // its line in the help of its parent
	Long    string // the first part of its help
	Example string // indented lines
	Group   string // the title above it in the help of its parent; empty: Commands
	Hidden  bool   // from help, suggestions and completion

	// Flags adds the command's flags. It is called only if the command is asked for. The root's flags are flags of all commands;
	// other commands with commands have none.
	Flags func(*pflag.FlagSet)
	// Renamed are flags of earlier versions, each with what to use instead, for the hint of the error.
	Renamed map[string]string
	// Unused reports whether a flag of the root does nothing in this command, so that help omits it. Nil: none.
	Unused func(flag string) bool

	Args func(args []string) error                // checks the arguments; nil: there must be none
	Run  func(context.Context, *Invocation) error // nil: it has only commands

	Complete     Completer                   // completes arguments; nil: with files
	CompleteFlag func(*pflag.Flag) Completer // returns what completes a flag, nil for files; may be nil

	Commands []*Command
}

// Invocation is a command with the flags and arguments of a command line.
type Invocation struct {
	Flags *pflag.FlagSet // of the command and the root
	Args  []string

	command       *Command
	path          string         // the names of the program and the command
	shared        *pflag.FlagSet // of the root
	help, version bool
}

// Execute runs the command that args ask for. An invalid command line is a usage error, and any other error is the command's.
func (a *App) Execute(ctx context.Context, args []string) error {
	a.Root.Commands = append(a.Root.Commands, a.completionCommand(), a.versionCommand(), a.helpCommand())
	if len(args) > 1 && args[0] == completeCommand {
		return a.complete(ctx, args[1:])
	}
	inv, args := a.find(args)
	if err := inv.parse(args); err != nil {
		return inv.UsageError(a.flagError(inv, err))
	}
	switch {
	case inv.help:
		return a.writeHelp(inv)
	case inv.version:
		_, err := fmt.Fprintf(a.Out, "%s version %s\n", inv.path, a.Version)
		return err
	}
	if err := inv.check(); err != nil {
		return inv.UsageError(inv.NameFields(err))
	}
	return inv.NameFields(inv.command.Run(ctx, inv))
}

// find returns the command that args ask for, and the other arguments.
func (a *App) find(args []string) (*Invocation, []string) {
	shared := a.newFlagSet()
	if a.Root.Flags != nil {
		a.Root.Flags(shared)
	}
	c, path := a.Root, a.Root.Use
	for at := firstWord(args, shared); at >= 0; at = firstWord(args, shared) {
		i := slices.IndexFunc(c.Commands, func(sub *Command) bool { return sub.name() == args[at] })
		if i < 0 {
			break
		}
		c, path = c.Commands[i], path+" "+args[at]
		args = slices.Concat(args[:at], args[at+1:])
	}
	inv := &Invocation{Flags: a.newFlagSet(), command: c, path: path, shared: shared}
	if c != a.Root && c.Flags != nil {
		c.Flags(inv.Flags)
	}
	inv.Flags.AddFlagSet(shared)
	inv.Flags.BoolVarP(&inv.help, "help", "h", false, "help for "+c.name())
	if c == a.Root {
		inv.Flags.BoolVarP(&inv.version, "version", "v", false, "version for "+c.name())
	}
	acceptBooleans(inv.Flags)
	return inv, args
}

func (a *App) newFlagSet() *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = a.SortFlags
	return set
}

// firstWord returns the index of the first argument that is neither a flag nor the value of one; -1 if there is none.
func firstWord(args []string, flags *pflag.FlagSet) int {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--":
			return -1
		case arg != "" && arg[0] != '-':
			return i
		case takesNext(flags, arg):
			i++
		}
	}
	return -1
}

// takesNext reports whether arg is a flag whose value is the next argument. An unknown flag has a value.
func takesNext(flags *pflag.FlagSet, arg string) bool {
	if strings.Contains(arg, "=") || !strings.HasPrefix(arg, "--") && !(len(arg) == 2 && arg[0] == '-') {
		return false
	}
	f := lookup(flags, arg)
	return f == nil || f.NoOptDefVal == ""
}

// lookup returns the flag --name or -n; nil if there is none.
func lookup(flags *pflag.FlagSet, arg string) *pflag.Flag {
	if name, long := strings.CutPrefix(arg, "--"); long {
		return flags.Lookup(name)
	}
	if len(arg) == 2 {
		return flags.ShorthandLookup(arg[1:])
	}
	return nil
}

func (c *Command) name() string {
	name, _, _ := strings.Cut(c.Use, " ")
	return name
}

// parse parses the flags and sets Args.
func (inv *Invocation) parse(args []string) error {
	err := inv.Flags.Parse(args)
	inv.Args = inv.Flags.Args()
	return err
}

// check checks the arguments.
func (inv *Invocation) check() error {
	switch c := inv.command; {
	case c.Run == nil && len(inv.Args) == 0:
		return errors.New("a command is missing")
	case c.Run == nil:
		return inv.unknownCommand(inv.Args[0])
	case c.Args != nil:
		return c.Args(inv.Args)
	}
	return NoArguments(inv.Args)
}

// NoArguments is the Args function of a command that has only flags.
func NoArguments(args []string) error {
	if len(args) > 0 {
		return errors.New("unexpected argument " + Quote(args[0]))
	}
	return nil
}
