package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

func (p *program) getCommand() *cobra.Command {
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
		ValidArgsFunction: p.completeOneBound,
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.begin(c); err != nil {
				return err
			}
			s, err := p.values(c.Context())
			if err != nil {
				return err
			}
			defer s.Wipe()
			for _, b := range s.Bound {
				if b.ExposeAsEnv != args[0] {
					continue
				}
				bound, err := p.onlyBound(b)
				if err != nil {
					return err
				}
				value := []byte(bound.Value.Reveal())
				if !noNewline {
					value = append(value, '\n')
				}
				defer clear(value)
				_, err = p.stdout.Write(value)
				return err
			}
			return cli.WithHint(
				fmt.Errorf("nothing is bound to %s as %s", s.Resource, cli.Quote(args[0])),
				meant(args[0], variables(s.Bound))+"miosa-env list shows what is")
		},
	}
	c.Flags().BoolVarP(&noNewline, "no-newline", "n", false, "print no line end after the value")
	p.addAgentFlag(c.Flags())
	return c
}

// onlyBound is b with its value, which may be in our own environment.
func (p *program) onlyBound(b api.Bound) (api.Bound, error) {
	if b.Delivery != api.DeliverPlatform {
		return b, nil // whatever its name does: nothing is set here
	}
	built, err := inject.Environment{Inherited: p.environ, Pristine: true, Bound: []api.Bound{b}, AllowNames: []string{b.ExposeAsEnv}}.Build()
	if err != nil {
		return b, err
	}
	warn(p.log, built.Warnings)
	return built.Bound[0], nil
}

// variables are the names that values are bound as.
func variables(list []api.Bound) (names []string) {
	for _, b := range list {
		names = append(names, b.ExposeAsEnv)
	}
	return names
}
