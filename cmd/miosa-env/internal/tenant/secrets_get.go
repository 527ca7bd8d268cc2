package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func secretsGetCommand(p *program.Program) *cobra.Command {
	var asJSON bool
	c := manager(p, &cobra.Command{
		Use:   "get [FLAG...] SECRET",
		Short: "Show what is known of a secret, and where it is bound",
		Long: `Shows a secret and its bindings. It shows no value, since no call returns one; of a value of
32 characters or more it shows the first six and the last four.`,
		Example: `  miosa-env secrets get github
  miosa-env secrets get sec_2b7nq --json`,
		Args:              oneArgument("the secret's id or name"),
		ValidArgsFunction: names{p}.completeSecrets,
	}, func(ctx context.Context, vault *secrets.Client, args []string) error {
		s, err := findSecret(ctx, vault, args[0])
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
		return showSecret(p, s, bindings, time.Now())
	})
	addJSONFlag(c.Flags(), &asJSON, "a JSON object, without the bindings")
	return c
}

func showSecret(p *program.Program, s *api.Secret, bindings []api.Binding, now time.Time) error {
	out := tabwriter.NewWriter(cli.Redacted{To: p.Stdout}, 0, 0, 2, ' ', 0)
	row := func(what, text string) {
		if text != "" {
			fmt.Fprintf(out, "%s\t%s\n", what, cli.OneLine(text))
		}
	}
	row("name", s.Name)
	row("id", s.ID)
	row("type", s.Type)
	row("provider", s.OAuthProvider)
	row("state", oauthState(s))
	row("scope", s.Scope)
	row("for", whose(s))
	row("preview", s.MaskedValue)
	row("version", program.VersionOf(s.Version))
	row("rotated", program.When(s.UpdatedAt, now))
	row("created", program.When(s.CreatedAt, now))
	row("expires", program.Ends(s.ExpiresAt, now))
	if m := string(s.Metadata); m != "{}" && m != "null" {
		row("metadata", m)
	}
	for _, b := range bindings {
		how := ""
		if b.Delivery != "" { // not told by every vault
			how = ", " + b.Delivery
		}
		row("bound", b.Resource.String()+" as "+b.ExposeAsEnv+how+" ("+b.ID+")")
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// findSecret finds a secret by its id, or by a name that no other has.
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
		return nil, cli.WithHint(errors.New("no secret has the id or name "+cli.Quote(idOrName)), program.Meant(idOrName, names)+"miosa-env secrets list shows all")
	case 1:
		return named[0], nil
	}
	var ids []string
	for _, s := range named {
		id := s.ID + " (" + s.Scope
		if of := whose(s); of != "" {
			id += ", " + of
		}
		ids = append(ids, id+")")
	}
	return nil, cli.WithHint(
		fmt.Errorf("%d secrets have the name %s: %s", len(named), cli.Quote(idOrName), strings.Join(ids, ", ")),
		"give the id of the one that is meant")
}
