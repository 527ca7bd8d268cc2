package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func secretsCommand(p *program.Program) *cli.Command {
	return group("secrets", "Store, list, rotate and delete a tenant's secrets",
		`Manages a tenant's secrets at the vault. It needs a tenant key (msk_u_...): from --key-file, from
MIOSA_TENANT_KEY, or from the sources of the resource key. No call returns a value: values reach only
the sandboxes and computers they are bound to, and their broker.

SECRET is the id of a secret, or its name if no other secret has that name.`,
		setCommand(p), secretsListCommand(p), secretsGetCommand(p), rotateCommand(p), egressCommand(p), secretsDeleteCommand(p),
	)
}

func secretsListCommand(p *program.Program) *cli.Command {
	var (
		asJSON   bool
		of       owners
		kind     string
		resource api.Resource
	)
	return vaultCommand(p, &cli.Command{
		Use:   "list [FLAG...] [NAME...]",
		Short: "List secrets and where they are bound, without their values",
		Long: `Lists the tenant's secrets and where each is bound, the latest changes first. NAME selects secrets by
name, or by a pattern such as 'stripe*'; flags select exact matches. --resource selects secrets that
were stored for a resource; miosa-env bindings list --resource shows all that are bound to it.`,
		Example: `  miosa-env secrets list
  miosa-env secrets list 'stripe*'
  miosa-env secrets list --type oauth_connect
  miosa-env secrets list --json | jq -r '.[].id'`,
		Args:     patterns,
		Complete: cli.First(completeWords(p, secretNames)),
		Flags: func(f *pflag.FlagSet) {
			f.Var(setting.Text(&kind).Suggest(secretTypes...), "type", "`TYPE` such as api_key or oauth_connect")
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` the resource that they are for: sandbox:ID or computer:ID")
			of.addFlags(f, true)
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		filter := of.filter()
		filter.Type, filter.Resource = kind, resource
		all, err := vault.List(ctx, filter)
		if err != nil {
			return err
		}
		list := slices.DeleteFunc(slices.Clone(all), func(s api.Secret) bool { return !matches(s.Name, inv.Args) })
		slices.SortStableFunc(list, func(a, b api.Secret) int {
			return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), b.CreatedAt.Compare(a.CreatedAt))
		})
		bound := map[string][]string{} // where a secret is bound, by its id
		if !asJSON && len(list) > 0 {
			bindings, err := vault.ListBindings(ctx, secrets.BindingFilter{})
			if err != nil {
				return err
			}
			for i := range bindings {
				bound[bindings[i].SecretID] = append(bound[bindings[i].SecretID], targetOf(&bindings[i]).String())
			}
		}
		return printList(p, asJSON, list, func() string { return "there are no such secrets" + nearSecret(all, inv.Args) },
			[]string{"NAME", "TYPE", "SCOPE", "FOR", "BOUND", "EGRESS", "VERSION", "ROTATED", "EXPIRES", "STATE", "ID"}, func(s *api.Secret) []string {
				return []string{s.Name, s.Type, s.Scope, ownerOf(s), few(bound[s.ID]), ruleHosts(s.Egress), program.VersionOf(s.Version), program.When(s.UpdatedAt),
					program.Ends(s.ExpiresAt), oauthState(s), s.ID}
			})
	})
}

// patterns accepts arguments that path.Match accepts.
func patterns(args []string) error {
	for _, arg := range args {
		if _, err := path.Match(arg, ""); err != nil {
			return fmt.Errorf("name %s: want a name, or a pattern such as 'stripe*'", cli.Quote(arg))
		}
	}
	return nil
}

// matches reports whether a name is one of names or matches one of them, or there are none.
func matches(name string, names []string) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(pattern string) bool {
		match, _ := path.Match(pattern, name) // patterns has refused what isn't a pattern
		return match || pattern == name
	})
}

// nearSecret completes a message about names that no secret has with a similar name.
func nearSecret(all []api.Secret, names []string) string {
	known := cli.Texts(all, func(s *api.Secret) string { return s.Name })
	for _, name := range names {
		if word := nearest.Word(name, known); word != "" {
			return cli.OneLine(nearest.OrMeant(word))
		}
	}
	return ""
}

// few joins the first words of a list, and says how many more there are.
func few(list []string) string {
	const most = 3
	if len(list) > most+1 {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

// attributions returns the users and workspaces that a secret is attributed to.
func attributions(s *api.Secret) (all []string) {
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
	return all
}

// ownerOf returns the attributions of a secret, and the resource it is for.
func ownerOf(s *api.Secret) string {
	all := attributions(s)
	if s.ResourceID != nil && s.ResourceType != nil {
		all = append(all, *s.ResourceType+":"+*s.ResourceID)
	}
	return strings.Join(all, ", ")
}

// oauthState returns the state of an account that isn't connected; "" for other secrets.
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
