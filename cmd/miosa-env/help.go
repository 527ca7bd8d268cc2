package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	helpWidth  = 88 // columns of a line of help
	flagColumn = 30 // where what a flag does begins
)

// help prints what --help shows. It is our own: cobra's shows neither variables nor arguments well.
func help(c *cobra.Command, _ []string) {
	var out strings.Builder
	if c.Long != "" {
		out.WriteString(c.Long + "\n\n")
	}
	out.WriteString("Usage:\n  " + usageLine(c) + "\n")
	if c.HasAvailableSubCommands() {
		out.WriteString("\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&out, "  %-12s%s\n", sub.Name(), sub.Short)
			}
		}
	}
	if c.Example != "" {
		out.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	if c.HasParent() {
		flags(&out, "Flags", c.LocalFlags())
	}
	if c.Annotations[noConnection] == "" {
		flags(&out, "Connection flags, and their variables", connectionFlags(c))
	}
	if c.HasAvailableSubCommands() {
		out.WriteString("\n" + c.CommandPath() + " COMMAND --help says more about a command.\n")
	}
	_, _ = io.WriteString(c.OutOrStdout(), out.String())
}

// connectionFlags are those of the root that a command has a use for.
func connectionFlags(c *cobra.Command) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	c.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		own := c.HasParent() && c.LocalNonPersistentFlags().Lookup(f.Name) != nil
		idle := c.Annotations[noResource] != "" && (f.Name == "sandbox" || f.Name == "computer" || f.Name == "socket")
		if !own && !idle {
			set.AddFlag(f)
		}
	})
	return set
}

// noConnection marks commands that speak to no vault.
const noConnection = "no connection"

func usageLine(c *cobra.Command) string {
	if c.HasParent() {
		return c.Parent().CommandPath() + " " + c.Use
	}
	return c.Use + " COMMAND [FLAG...]"
}

func flags(out *strings.Builder, title string, set *pflag.FlagSet) {
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
		if f.DefValue != "" && f.DefValue != "[]" && f.Value.Type() != "bool" {
			text += " (default " + f.DefValue + ")"
		}
		if variable := variableOf(f.Name); variable != "" && f.Annotations[ownTimeout] == nil {
			text += " [" + variable + "]"
		}
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

// wrap breaks text into lines of at most width columns.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
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
