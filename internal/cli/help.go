package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

const (
	helpWidth  = 88 // columns
	flagColumn = 30 // of the descriptions of flags
)

// writeHelp prints the help of a command.
func (a *App) writeHelp(inv *Invocation) error {
	var out strings.Builder
	c := inv.command
	if c.Long != "" {
		out.WriteString(c.Long + "\n\n")
	}
	out.WriteString("Usage:\n  " + strings.TrimSuffix(inv.path, c.name()) + c.Use)
	if len(c.Commands) > 0 {
		out.WriteString(" COMMAND [FLAG...]")
	}
	out.WriteString("\n")
	writeCommands(&out, c.Commands)
	if c.Example != "" {
		out.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	if c != a.Root {
		a.writeFlags(&out, "Flags", inv.Flags, func(f *pflag.Flag) bool { return inv.shared.Lookup(f.Name) != f })
	}
	a.writeFlags(&out, a.SharedTitle, inv.shared, func(f *pflag.Flag) bool {
		return inv.Flags.Lookup(f.Name) == f && (c.Unused == nil || !c.Unused(f.Name))
	})
	if len(c.Commands) > 0 {
		out.WriteString("\n" + inv.path + " COMMAND --help says more about a command.\n")
	}
	_, err := io.WriteString(a.Out, out.String())
	return err
}

// writeCommands lists commands below the titles of their groups.
func writeCommands(out *strings.Builder, commands []*Command) {
	group := ""
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		if title := cmp.Or(c.Group, "Commands"); title != group {
			group = title
			out.WriteString("\n" + title + ":\n")
		}
		fmt.Fprintf(out, "  %-12s%s\n", c.name(), c.Short)
	}
}

// writeFlags lists those flags of a set that are wanted.
func (a *App) writeFlags(out *strings.Builder, title string, set *pflag.FlagSet, wanted func(*pflag.Flag) bool) {
	var lines strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || !wanted(f) {
			return
		}
		argument, text := describe(f)
		left := "      --" + f.Name
		if f.Shorthand != "" {
			left = "  -" + f.Shorthand + ", --" + f.Name
		}
		switch {
		case f.Value.Type() == "bool":
		case f.NoOptDefVal != "":
			left += "[=" + argument + "]"
		default:
			left += " " + argument
		}
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "0s" && f.Value.Type() != "bool" {
			text += " (default " + f.DefValue + ")"
		}
		if a.Variable != nil {
			if variable := a.Variable(f); variable != "" {
				text += " [" + variable + "]"
			}
		}
		text = strings.ReplaceAll(text, "`", "") // of Markdown
		if len(left) > flagColumn-2 {
			lines.WriteString(left + "\n")
			left = ""
		}
		for _, line := range wrap(text, helpWidth-flagColumn) {
			fmt.Fprintf(&lines, "%-*s%s\n", flagColumn, left, line)
			left = ""
		}
	})
	if lines.Len() > 0 {
		out.WriteString("\n" + title + ":\n" + lines.String())
	}
}

// describe returns the name of a flag's value, and what the flag does.
func describe(f *pflag.Flag) (argument, text string) {
	argument, text = pflag.UnquoteUsage(f)
	if strings.HasPrefix(f.Usage, "`") { // it only names the value
		text = strings.TrimPrefix(text, argument+" ")
	}
	return argument, text
}

// wrap breaks text into lines of at most so many columns.
func wrap(text string, columns int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		switch last := &lines[len(lines)-1]; {
		case *last == "":
			*last = word
		case len(*last)+1+len(word) > columns:
			lines = append(lines, word)
		default:
			*last += " " + word
		}
	}
	return lines
}
