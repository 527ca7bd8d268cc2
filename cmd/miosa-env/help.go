package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// The groups of commands in --help.
const (
	groupRun     = "run"
	groupMachine = "machine"
	groupTenant  = "tenant"
	groupOther   = "other"
)

func groups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupRun, Title: "Run commands with secrets"},
		{ID: groupMachine, Title: "Operate a machine"},
		{ID: groupTenant, Title: "Manage a tenant"},
		{ID: groupOther, Title: "Other"},
	}
}

func grouped(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = id
	}
	return commands
}

// showHelp returns the function that prints --help.
func showHelp(p *program.Program) func(*cobra.Command, []string) {
	return func(c *cobra.Command, _ []string) {
		cli.Help(c, cli.SharedFlags{Title: "Connection flags, and their variables", Flags: connectionFlags, Variable: p.VariableOf})
	}
}

// connectionFlags returns the flags of the root that a command uses.
func connectionFlags(c *cobra.Command) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	if c.Annotations[noConnection] != "" {
		return set
	}
	c.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		own := c.HasParent() && c.LocalNonPersistentFlags().Lookup(f.Name) != nil
		idle := c.Annotations[program.NoResource] != "" && (f.Name == "sandbox" || f.Name == "computer" || f.Name == "socket")
		if !own && !idle {
			set.AddFlag(f)
		}
	})
	return set
}

// noConnection is the annotation of commands that need no vault.
const noConnection = "no connection"

// alone marks a command that needs no vault.
func alone(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{noConnection: "true"}
	return c
}
