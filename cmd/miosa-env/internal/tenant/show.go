package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func secretsGetCommand(p *program.Program) *cli.Command {
	var asJSON bool
	return vaultCommand(p, &cli.Command{
		Use:   "get [FLAG...] SECRET",
		Short: "Show a secret and where it is bound, without its value",
		Long: `Shows a secret and its bindings. It shows no value, because no call returns one; of values of 32
characters or more it shows the first six and the last four.`,
		Example: `  miosa-env secrets get github
  miosa-env secrets get sec_2b7nq --json`,
		Args:     oneArgument("the secret's id or name"),
		Complete: cli.First(completeWords(p, secretIDs)),
		Flags: func(f *pflag.FlagSet) {
			addJSONFlag(f, &asJSON, "a JSON object, without the bindings")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		s, err := findSecret(ctx, vault, inv.Args[0])
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p, s)
		}
		bindings, err := vault.ListBindings(ctx, secrets.BindingFilter{SecretID: s.ID})
		if err != nil {
			return err
		}
		return describe(s, bindings).Write(p.Stdout)
	})
}

// describe returns what is known of a secret, a line for each field that has a value.
func describe(s *api.Secret, bindings []api.Binding) *program.Table {
	t := &program.Table{}
	metadata := string(s.Metadata)
	if metadata == "{}" || metadata == "null" {
		metadata = ""
	}
	for _, field := range [][]string{
		{"name", s.Name},
		{"id", s.ID},
		{"type", s.Type},
		{"provider", s.OAuthProvider},
		{"state", oauthState(s)},
		{"scope", s.Scope},
		{"for", ownerOf(s)},
		{"preview", s.MaskedValue},
		{"version", program.VersionOf(s.Version)},
		{"rotated", program.When(s.UpdatedAt)},
		{"created", program.When(s.CreatedAt)},
		{"expires", program.Ends(s.ExpiresAt)},
		{"egress", describeRule(s.Egress)},
		{"metadata", metadata},
	} {
		if field[1] != "" {
			t.Add(field...)
		}
	}
	for _, b := range bindings {
		how := ""
		if b.Delivery != "" { // some vaults don't return it
			how = ", " + b.Delivery
		}
		if b.Egress != nil {
			how += ", " + describeNarrowed(s.Egress, b.Egress)
		}
		t.Add("bound", b.Resource.String()+" as "+b.ExposeAsEnv+how+" ("+b.ID+")")
	}
	return t
}

func secretsDeleteCommand(p *program.Program) *cli.Command {
	var yes bool
	return vaultCommand(p, &cli.Command{
		Use:   "delete [FLAG...] SECRET",
		Short: "Delete a secret and its bindings",
		Long: `Deletes a secret and its bindings: its variables are removed where it was bound. It asks for
confirmation; without a terminal, --yes is required.`,
		Example: `  miosa-env secrets delete github
  miosa-env secrets delete sec_2b7nq --yes`,
		Args:     oneArgument("the secret's id or name"),
		Complete: cli.First(completeWords(p, secretIDs)),
		Flags: func(f *pflag.FlagSet) {
			addYesFlag(f, &yes)
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		s, err := findSecret(ctx, vault, inv.Args[0])
		if err != nil {
			return err
		}
		bindings, err := vault.ListBindings(ctx, secrets.BindingFilter{SecretID: s.ID})
		if err != nil {
			return err
		}
		bound := ", which is bound nowhere"
		for i := range bindings {
			if i == 0 {
				bound = ", bound as " + targetOf(&bindings[i]).String()
			} else {
				bound += ", " + targetOf(&bindings[i]).String()
			}
		}
		if err := confirm(p, yes, "Delete the secret "+nameAndID(s)+bound+"?"); err != nil {
			return err
		}
		if err := vault.Delete(ctx, s.ID); err != nil {
			return err
		}
		return printDone(p, "deleted "+nameAndID(s))
	})
}

func nameAndID(s *api.Secret) string { return cli.Quote(s.Name) + " (" + s.ID + ")" }

func targetOf(b *api.Binding) target { return target{b.Resource, b.ExposeAsEnv} }

// findSecret returns the secret with an id, or with a name that no other secret has.
func findSecret(ctx context.Context, vault *secrets.Client, idOrName string) (*api.Secret, error) {
	if strings.HasPrefix(idOrName, "sec_") {
		s, err := vault.Get(ctx, idOrName)
		if !errors.Is(err, api.ErrNotFound) {
			return &s, err
		}
	}
	list, err := vault.List(ctx, secrets.Filter{})
	if err != nil {
		return nil, err
	}
	var named []*api.Secret
	var names []string
	for i := range list {
		names = append(names, list[i].Name, list[i].ID)
		if list[i].ID == idOrName {
			return &list[i], nil
		}
		if list[i].Name == idOrName {
			named = append(named, &list[i])
		}
	}
	switch len(named) {
	case 0:
		return nil, cli.WithHint(errors.New("no secret has the id or name "+cli.Quote(idOrName)), cli.Meant(idOrName, names)+"miosa-env secrets list shows all")
	case 1:
		return named[0], nil
	}
	var ids []string
	for _, s := range named {
		id := s.ID + " (" + s.Scope
		if of := ownerOf(s); of != "" {
			id += ", " + of
		}
		ids = append(ids, id+")")
	}
	return nil, cli.WithHint(
		fmt.Errorf("%d secrets have the name %s: %s", len(named), cli.Quote(idOrName), strings.Join(ids, ", ")),
		"give the id of the one that is meant")
}
