package machine

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Get returns the command get.
func Get(p *program.Program) *cobra.Command {
	var noNewline bool
	c := &cobra.Command{
		Use:   "get [FLAG...] NAME",
		Short: "Print one bound value",
		Long: `Prints the value bound as NAME, byte for byte, and a line end after it. The shell's $(...)
drops that again; for anything that counts bytes, leave it out with -n.`,
		Example: `  curl -H "Authorization: Bearer $(miosa-env get GH_TOKEN)" https://api.github.com/user
  miosa-env get -n TLS_KEY > /run/tls.key`,
		Args: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return errors.New("the name of a variable is missing")
			case 1:
				return nil
			}
			return cli.WithHint(errors.New("one name at a time"), "miosa-env export --only NAME,NAME prints several")
		},
		ValidArgsFunction: variables{p}.completeOne,
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.Begin(c); err != nil {
				return err
			}
			s, err := Values(c.Context(), p)
			if err != nil {
				return err
			}
			defer s.Wipe()
			for _, b := range s.Bound {
				if b.ExposeAsEnv != args[0] {
					continue
				}
				bound, err := onlyBound(p, b)
				if err != nil {
					return err
				}
				value := []byte(bound.Value.Reveal())
				if !noNewline {
					value = append(value, '\n')
				}
				defer clear(value)
				_, err = p.Stdout.Write(value)
				return err
			}
			return cli.WithHint(
				fmt.Errorf("nothing is bound to %s as %s", s.Resource, cli.Quote(args[0])),
				program.Meant(args[0], variableNames(s.Bound))+"miosa-env list shows what is")
		},
	}
	c.Flags().BoolVarP(&noNewline, "no-newline", "n", false, "print no line end after the value")
	AddAgentFlag(p, c.Flags())
	return c
}

// onlyBound is b with its value, which may be in our own environment.
func onlyBound(p *program.Program, b api.Bound) (api.Bound, error) {
	if b.Delivery != api.DeliverPlatform {
		return b, nil // whatever its name does: nothing is set here
	}
	built, err := inject.Environment{Inherited: p.Environ, Pristine: true, Bound: []api.Bound{b}, AllowNames: []string{b.ExposeAsEnv}}.Build()
	if err != nil {
		return b, err
	}
	warn(p.Log, built.Warnings)
	return built.Bound[0], nil
}

// variableNames are the names that values are bound as.
func variableNames(list []api.Bound) (names []string) {
	for _, b := range list {
		names = append(names, b.ExposeAsEnv)
	}
	return names
}
