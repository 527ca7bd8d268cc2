package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Completion scripts run this command with the arguments of a command line, up to the one that is completed. It prints a word that
// may replace that one per line, with a description after a tab. Words may begin differently: scripts leave those out. The last
// line is a colon and the sum of the numbers below.
const (
	completeCommand = "__complete"

	completeNoSpace = 2 // add no space after the word
	completeNoFiles = 4 // don't complete files if there are no words
)

// Completer returns words that may replace the typed one. A description may follow a word after a tab. No space is added after a
// word that ends in = or :. The arguments of inv are those before the typed one.
type Completer func(ctx context.Context, inv *Invocation, typed string) []string

// Words returns a Completer of fixed words.
func Words(words []string) Completer {
	return func(context.Context, *Invocation, string) []string { return words }
}

// First completes the first argument only.
func First(complete Completer) Completer {
	return func(ctx context.Context, inv *Invocation, typed string) []string {
		if len(inv.Args) > 0 {
			return nil
		}
		return complete(ctx, inv, typed)
	}
}

// complete prints what completes the last argument.
func (a *App) complete(ctx context.Context, args []string) error {
	var out strings.Builder
	sum := 0
	if complete, inv, typed := a.completer(args); complete != nil {
		sum = completeNoFiles
		for _, line := range complete(ctx, inv, typed) {
			line, _, _ = strings.Cut(line, "\n")
			line = strings.TrimSpace(line)
			out.WriteString(line + "\n")
			word, _, _ := strings.Cut(line, "\t")
			if strings.HasPrefix(word, typed) && (strings.HasSuffix(word, "=") || strings.HasSuffix(word, ":")) {
				sum |= completeNoSpace
			}
		}
	}
	fmt.Fprintf(&out, ":%d\n", sum)
	_, err := io.WriteString(a.Out, out.String())
	return err
}

// completer returns what completes the last argument, nil for files, and the text to complete: the argument, or the value in
// --flag=value.
func (a *App) completer(args []string) (complete Completer, inv *Invocation, typed string) {
	last := len(args) - 1
	typed = args[last]
	inv, args = a.find(args[:last])
	flag, args, typed := flagAt(inv.Flags, args, typed)
	// This -- ends the flags, unless they have ended before: at another one, or at the first argument of a command such as run.
	if inv.parse(slices.Concat(args, []string{"--"})) != nil {
		return nil, inv, typed
	}
	n := len(inv.Args)
	ended := n > 0 && inv.Flags.ArgsLenAtDash() != n
	if ended {
		inv.Args = inv.Args[:n-1] // without it
	}
	c := inv.command
	switch isFlag := strings.HasPrefix(typed, "-") && !ended; {
	case inv.help || inv.version:
		complete = Words(nil)
	case flag != nil && !ended:
		complete = c.flagCompleter(flag)
	case isFlag && strings.Contains(typed, "="):
	case isFlag:
		complete = flagNames
	case len(c.Commands) > 0 && len(inv.Args) == 0:
		complete = commandNames
	default:
		complete = c.Complete
	}
	return complete, inv, typed
}

// flagAt returns the flag whose value is typed, in --flag=value or as the next argument, the arguments before the flag, and the
// value. If there is none, flag is nil.
func flagAt(flags *pflag.FlagSet, args []string, typed string) (flag *pflag.Flag, before []string, value string) {
	if last := len(args) - 1; last >= 0 && takesNext(flags, args[last]) {
		if f := lookup(flags, args[last]); f != nil {
			return f, args[:last], typed
		}
	}
	if name, value, ok := strings.Cut(typed, "="); ok && strings.HasPrefix(name, "-") {
		if f := lookup(flags, name); f != nil {
			return f, args, value
		}
	}
	return nil, args, typed
}

func (c *Command) flagCompleter(f *pflag.Flag) Completer {
	if v, ok := f.Value.(*setting.Value); ok && v.Words != nil {
		return Words(v.Words)
	}
	if c.CompleteFlag == nil {
		return nil
	}
	return c.CompleteFlag(f)
}

// flagNames is the Completer of flags. A flag that has been given is left out unless it is a list.
func flagNames(_ context.Context, inv *Invocation, typed string) (list []string) {
	inv.Flags.VisitAll(func(f *pflag.Flag) {
		if _, isList := f.Value.(pflag.SliceValue); f.Changed && !isList {
			return
		}
		_, text := describe(f)
		text = strings.ReplaceAll(text, "`", "")
		for _, name := range []string{"--" + f.Name, "-" + f.Shorthand} {
			if len(name) > 1 && strings.HasPrefix(name, typed) {
				list = append(list, name+"\t"+text)
			}
		}
	})
	return list
}

// commandNames is the Completer of commands.
func commandNames(_ context.Context, inv *Invocation, typed string) (list []string) {
	for _, c := range inv.command.Commands {
		if strings.HasPrefix(c.name(), typed) {
			list = append(list, c.name()+"\t"+c.Short)
		}
	}
	return list
}
