package tenant

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func secretsDeleteCommand(p *program.Program) *cobra.Command {
	var yes bool
	c := manager(p, &cobra.Command{
		Use:   "delete [FLAG...] SECRET",
		Short: "Delete a secret and its bindings",
		Long: `Deletes a secret, and its bindings with it: the variables are gone where it was bound. It asks
first, and where there is no terminal to ask at, it wants --yes.`,
		Example: `  miosa-env secrets delete github
  miosa-env secrets delete sec_2b7nq --yes`,
		Args:              oneArgument("the secret's id or name"),
		ValidArgsFunction: names{p}.completeSecrets,
	}, func(ctx context.Context, vault *secrets.Client, args []string) error {
		s, err := findSecret(ctx, vault, args[0])
		if err != nil {
			return err
		}
		bindings, err := vault.ListBindings(ctx, secrets.BindingFilter{SecretID: s.ID})
		if err != nil {
			return err
		}
		if err := confirm(p, yes, "Delete the secret "+calledSecret(s)+boundAt(bindings)+"?"); err != nil {
			return err
		}
		if err := vault.Delete(ctx, s.ID); err != nil {
			return err
		}
		return say(p, "deleted "+calledSecret(s))
	})
	addYesFlag(c.Flags(), &yes)
	return c
}

// calledSecret says which secret is meant, to people.
func calledSecret(s *api.Secret) string { return cli.Quote(s.Name) + " (" + s.ID + ")" }

// boundAt says what goes with a secret.
func boundAt(bindings []api.Binding) string {
	if len(bindings) == 0 {
		return ", which is bound nowhere"
	}
	var all []string
	for i := range bindings {
		all = append(all, placeOf(&bindings[i]).String())
	}
	return ", bound as " + strings.Join(all, ", ")
}

func placeOf(b *api.Binding) place { return place{b.Resource, b.ExposeAsEnv} }
