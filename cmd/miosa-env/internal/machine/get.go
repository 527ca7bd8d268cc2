package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Get returns the command get.
func Get(p *program.Program) *cli.Command {
	var noNewline bool
	return &cli.Command{
		Use:   "get [FLAG...] NAME",
		Short: "Print one bound value",
		Long: `Prints the value bound as NAME, byte for byte, followed by a line end. The shell's $(...) removes
line ends; in other cases, use -n to print none.`,
		Example: `  curl -H "Authorization: Bearer $(miosa-env get GH_TOKEN)" https://api.github.com/user
  miosa-env get -n TLS_KEY > /run/tls.key`,
		Flags: func(f *pflag.FlagSet) {
			p.AddFlags(f, "get")
			f.BoolVarP(&noNewline, "no-newline", "n", false, "print no line end after the value")
		},
		Complete: cli.First(completeVariables(p)),
		Args: func(args []string) error {
			switch len(args) {
			case 0:
				return errors.New("the name of a variable is missing")
			case 1:
				return nil
			}
			return cli.WithHint(errors.New("one name at a time"), "miosa-env export --only NAME,NAME prints several")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			s, err := Values(ctx, p)
			if err != nil {
				return err
			}
			defer s.Wipe()
			value, err := valueOf(ctx, p, s, inv.Args[0])
			if err != nil {
				return err
			}
			text := []byte(value.Reveal())
			if !noNewline {
				text = append(text, '\n')
			}
			defer clear(text)
			_, err = p.Stdout.Write(text)
			return err
		},
	}
}

// valueOf returns the value bound as name. The platform may have set it in the environment of this process.
func valueOf(ctx context.Context, p *program.Program, s api.Snapshot, name string) (api.Value, error) {
	i := slices.IndexFunc(s.Bound, func(b api.Bound) bool { return b.ExposeAsEnv == name })
	if i < 0 && slices.Contains(expiredVariables(ctx, p), name) {
		return api.Value{}, cli.WithHint(fmt.Errorf("the secret bound to %s as %s has expired", s.Resource, cli.Quote(name)), environ.ExpiredHint)
	}
	if i < 0 {
		names := cli.Texts(s.Bound, func(b *api.Bound) string { return b.ExposeAsEnv })
		return api.Value{}, cli.WithHint(
			fmt.Errorf("nothing is bound to %s as %s", s.Resource, cli.Quote(name)),
			cli.Meant(name, names)+"miosa-env list shows what is")
	}
	b := s.Bound[i]
	if b.Delivery != api.DeliverPlatform {
		return b.Value, nil // names aren't checked: no variable is set
	}
	built, err := environ.Environment{Inherited: p.Environ, Pristine: true, Bound: []api.Bound{b}, AllowNames: []string{name}}.Build()
	if err != nil {
		return api.Value{}, err
	}
	warn(p.Log, built.Warnings)
	return built.Bound[0].Value, nil
}
