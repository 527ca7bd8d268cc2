package main

import (
	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/inject"
)

func (p *program) exportCommand() *cobra.Command {
	f := &selection{}
	format := choice{inject.FormatShell, inject.Formats}
	c := &cobra.Command{
		Use:   "export [FLAG...]",
		Short: "Print the bound values for a shell, as dotenv or as JSON",
		Long: `Prints the values bound to this sandbox or computer, sorted by name.

  shell   export NAME='value' lines, exact in every POSIX shell; nothing in a value is run
  dotenv  NAME=value lines that readers of .env files agree on
  json    one object of strings

Bindings that run would refuse are refused here too. Nothing is printed unless
everything can be: a value that a format has no spelling for is an error.`,
		Example: `  eval "$(miosa-env export)"
  values=$(miosa-env export) && eval "$values"    # stops where the export failed
  miosa-env export --format dotenv --only 'DB_*' > /run/app.env
  miosa-env export --format json | jq -r .DB_URL`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.begin(c); err != nil {
				return err
			}
			s, err := p.values(c.Context())
			if err != nil {
				return err
			}
			defer s.Wipe()
			e := f.environment()
			e.Bound = s.Bound
			built, err := e.Build()
			if err != nil {
				return err
			}
			warn(p.log, built.Warnings)
			return inject.Encode(p.stdout, format.value, built.Named())
		},
	}
	c.Flags().SortFlags = false
	c.Flags().Var(&format, "format", "`FORMAT` shell, dotenv or json")
	f.addFlags(c.Flags())
	p.addAgentFlag(c.Flags())
	return c
}
