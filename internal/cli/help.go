package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	helpWidth  = 88 // columns
	flagColumn = 30 // of the descriptions of flags
)

// SharedFlags are flags of several commands, which help lists after a command's own. The zero value has none.
type SharedFlags struct {
	Title string
	Flags func(*cobra.Command) *pflag.FlagSet // those that apply to this command
	// Variable returns a flag's environment variable, "" if it has none.
	Variable func(*pflag.Flag) string
}

// Help prints a command's help. It is our own: cobra's shows neither variables nor arguments well.
func Help(c *cobra.Command, shared SharedFlags) {
	var out strings.Builder
	if c.Long != "" {
		out.WriteString(c.Long + "\n\n")
	}
	out.WriteString("Usage:\n  " + usageLine(c) + "\n")
	if c.HasAvailableSubCommands() {
		writeCommands(&out, c)
	}
	if c.Example != "" {
		out.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	if c.HasParent() {
		writeFlags(&out, "Flags", c.LocalFlags(), shared)
	}
	if shared.Flags != nil {
		writeFlags(&out, shared.Title, shared.Flags(c), shared)
	}
	if c.HasAvailableSubCommands() {
		out.WriteString("\n" + c.CommandPath() + " COMMAND --help says more about a command.\n")
	}
	_, _ = io.WriteString(c.OutOrStdout(), out.String())
}

// writeCommands lists the commands of c, by group if it has groups.
func writeCommands(out *strings.Builder, c *cobra.Command) {
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
	line := c.Use
	if c.HasParent() {
		line = c.Parent().CommandPath() + " " + line
	}
	if c.HasAvailableSubCommands() || !c.HasParent() {
		line += " COMMAND [FLAG...]"
	}
	return line
}

func writeFlags(out *strings.Builder, title string, set *pflag.FlagSet, shared SharedFlags) {
	var lines strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		argument, text := pflag.UnquoteUsage(f)
		if strings.HasPrefix(f.Usage, "`") { // it only names the argument
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
