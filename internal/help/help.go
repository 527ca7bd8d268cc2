// Package help prints what --help of both programs shows. It is our own: cobra's shows neither variables nor
// arguments well.
package help

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	width      = 88 // columns of a line of help
	flagColumn = 30 // where what a flag does begins
)

// Shared are flags that several commands have, which are shown below a command's own.
type Shared struct {
	Title string
	Flags func(*cobra.Command) *pflag.FlagSet // those that this command has a use for
	// Variable gives a flag's environment variable, "" where it has none.
	Variable func(*pflag.Flag) string
}

// Func is what cobra's SetHelpFunc takes. The zero Shared is none.
func Func(shared Shared) func(*cobra.Command, []string) {
	return func(c *cobra.Command, _ []string) { show(c, shared) }
}

func show(c *cobra.Command, shared Shared) {
	var out strings.Builder
	if c.Long != "" {
		out.WriteString(c.Long + "\n\n")
	}
	out.WriteString("Usage:\n  " + usageLine(c) + "\n")
	if c.HasAvailableSubCommands() {
		commands(&out, c)
	}
	if c.Example != "" {
		out.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	if c.HasParent() {
		flags(&out, "Flags", c.LocalFlags(), shared)
	}
	if shared.Flags != nil {
		flags(&out, shared.Title, shared.Flags(c), shared)
	}
	if c.HasAvailableSubCommands() {
		out.WriteString("\n" + c.CommandPath() + " COMMAND --help says more about a command.\n")
	}
	_, _ = io.WriteString(c.OutOrStdout(), out.String())
}

// commands lists the commands of c, by group where it has groups.
func commands(out *strings.Builder, c *cobra.Command) {
	groups := c.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, group := range groups {
		out.WriteString("\n" + group.Title + ":\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.GroupID == group.ID {
				fmt.Fprintf(out, "  %-12s%s\n", sub.Name(), sub.Short)
			}
		}
	}
}

func usageLine(c *cobra.Command) string {
	if c.HasParent() {
		line := c.Parent().CommandPath() + " " + c.Use
		if c.HasAvailableSubCommands() {
			line += " COMMAND [FLAG...]"
		}
		return line
	}
	return c.Use + " COMMAND [FLAG...]"
}

func flags(out *strings.Builder, title string, set *pflag.FlagSet, shared Shared) {
	var lines strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		argument, text := pflag.UnquoteUsage(f)
		if strings.HasPrefix(f.Usage, "`") { // only there to name the argument
			text = strings.TrimPrefix(text, argument+" ")
		}
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
		if shared.Variable != nil {
			if variable := shared.Variable(f); variable != "" {
				text += " [" + variable + "]"
			}
		}
		if len(left) > flagColumn-2 {
			lines.WriteString(left + "\n")
			left = ""
		}
		for _, line := range wrap(text, width-flagColumn) {
			fmt.Fprintf(&lines, "%-*s%s\n", flagColumn, left, line)
			left = ""
		}
	})
	if lines.Len() > 0 {
		out.WriteString("\n" + title + ":\n" + lines.String())
	}
}

// wrap breaks text into lines of so many columns at most.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > columns {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
