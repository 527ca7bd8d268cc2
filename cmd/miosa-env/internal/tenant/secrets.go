package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func secretsCommand(p *program.Program) *cobra.Command {
	return groupCommand("secrets", "Store, list, rotate and delete a tenant's secrets",
		`Manages a tenant's secrets at the vault. It takes a tenant key (msk_u_...): from --key-file, from
MIOSA_TENANT_KEY, or from where every command looks for its key. No call ever returns a value: what
is stored reaches only the sandboxes and computers it is bound to.

Where a command takes a secret, its id does, and its name where no other secret has it.`,
		secretsSetCommand(p), secretsListCommand(p), secretsGetCommand(p), secretsRotateCommand(p), secretsDeleteCommand(p),
	)
}

func secretsListCommand(p *program.Program) *cobra.Command {
	var asJSON bool
	var whose owners
	var kind string
	var resource resourceFlag
	c := manager(p, &cobra.Command{
		Use:   "list [FLAG...] [NAME...]",
		Short: "List secrets and where they are bound, without their values",
		Long: `Lists the tenant's secrets, what changed last first, and where each is bound. A NAME keeps the secrets
with that name, or with names that match a pattern such as 'stripe*'; each flag keeps those that match
it exactly. --resource is about secrets that were stored for one resource; miosa-env bindings list
--resource shows all that are bound to one.`,
		Example: `  miosa-env secrets list
  miosa-env secrets list 'stripe*'
  miosa-env secrets list --type oauth_connect
  miosa-env secrets list --json | jq -r '.[].id'`,
		Args:              patterns,
		ValidArgsFunction: names{p}.completeSecretNames,
	}, func(ctx context.Context, vault *secrets.Client, args []string) error {
		filter := whose.filter()
		filter.Type, filter.Resource = kind, resource.Resource
		all, err := vault.List(ctx, filter)
		if err != nil {
			return err
		}
		list := called(all, args)
		slices.SortStableFunc(list, func(a, b api.Secret) int {
			return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), b.CreatedAt.Compare(a.CreatedAt))
		})
		if asJSON || len(list) == 0 {
			return noTable(p, asJSON, orEmpty(list), "there are no such secrets"+nearSecret(all, args))
		}
		bindings, err := vault.ListBindings(ctx, secrets.BindingFilter{})
		if err != nil {
			return err
		}
		return secretTable(list, bindings, time.Now()).Write(p.Stdout)
	})
	c.Flags().Var(cli.Text(&kind), "type", "`TYPE` such as api_key or oauth_connect")
	c.Flags().Var(&resource, "resource", "`RESOURCE` the one they are for: sandbox:ID or computer:ID")
	whose.addFlags(c.Flags(), true)
	addJSONFlag(c.Flags(), &asJSON, "a JSON list")
	completeWords(p, c)
	return c
}

// patterns lets words through that path.Match takes.
func patterns(_ *cobra.Command, args []string) error {
	for _, arg := range args {
		if _, err := path.Match(arg, ""); err != nil {
			return fmt.Errorf("name %s: want a name, or a pattern such as 'stripe*'", cli.Quote(arg))
		}
	}
	return nil
}

// called keeps the secrets with one of the names, or with names that match one of them; all where there is no name.
func called(all []api.Secret, names []string) (list []api.Secret) {
	for _, s := range all {
		if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool {
			match, _ := path.Match(name, s.Name) // its error is that of a pattern, which patterns has refused
			return match || name == s.Name
		}) {
			list = append(list, s)
		}
	}
	return list
}

// nearSecret ends a message about names that no secret has with the one that was probably meant.
func nearSecret(all []api.Secret, names []string) string {
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
	for _, name := range names {
		if word := nearest.Word(name, known); word != "" {
			return cli.OneLine(program.OrMeant(word))
		}
	}
	return ""
}

func secretTable(list []api.Secret, bindings []api.Binding, now time.Time) *program.Table {
	bound := map[string][]string{} // a secret's id to where it is bound
	for i := range bindings {
		bound[bindings[i].SecretID] = append(bound[bindings[i].SecretID], placeOf(&bindings[i]).String())
	}
	t := &program.Table{Head: []string{"NAME", "TYPE", "SCOPE", "FOR", "BOUND", "VERSION", "ROTATED", "EXPIRES", "STATE", "ID"}}
	for i := range list {
		s := &list[i]
		t.Add(s.Name, s.Type, s.Scope, whose(s), few(bound[s.ID]), program.VersionOf(s.Version), program.When(s.UpdatedAt, now),
			program.Ends(s.ExpiresAt, now), oauthState(s), s.ID)
	}
	return t
}

// few is the first words of a list, and how many more there are.
func few(list []string) string {
	const most = 3
	if len(list) > most+1 {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

// whose says whom and what a secret is for, "" where it doesn't say.
func whose(s *api.Secret) string {
	var all []string
	for _, part := range []struct {
		what string
		id   *string
	}{
		{"workspace ", s.WorkspaceID}, {"user ", s.OwnerUserID},
		{"external user ", s.ExternalUserID}, {"external workspace ", s.ExternalWorkspaceID},
	} {
		if part.id != nil && *part.id != "" {
			all = append(all, part.what+*part.id)
		}
	}
	if s.ResourceID != nil && s.ResourceType != nil {
		all = append(all, *s.ResourceType+":"+*s.ResourceID)
	}
	return strings.Join(all, ", ")
}

// oauthState is what there is to say about a connected account, "" where all is well.
func oauthState(s *api.Secret) string {
	var known struct {
		OAuth struct {
			Status string `json:"status"`
		} `json:"oauth"`
	}
	if json.Unmarshal(s.Metadata, &known) != nil || known.OAuth.Status == api.OAuthConnected {
		return ""
	}
	return strings.ReplaceAll(known.OAuth.Status, "_", " ")
}
