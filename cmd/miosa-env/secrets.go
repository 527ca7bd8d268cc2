package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func (p *program) secretsCommand() *cobra.Command {
	return groupCommand("secrets", "Store, list, rotate and delete a tenant's secrets",
		`Manages a tenant's secrets at the vault. It takes a tenant key (msk_u_...): from --key-file, from
MIOSA_TENANT_KEY, or from where every command looks for its key. No call ever answers a value: what
is stored reaches only the sandboxes and computers it is bound to.

Where a command takes a secret, its id does, and its name where no other secret has it.`,
		p.secretsSetCommand(), p.secretsListCommand(), p.secretsGetCommand(), p.secretsRotateCommand(), p.secretsDeleteCommand(),
	)
}

func (p *program) secretsListCommand() *cobra.Command {
	var asJSON bool
	var whose owners
	var kind string
	var resource resourceFlag
	c := p.manager(&cobra.Command{
		Use:   "list [FLAG...]",
		Short: "List secrets, without their values",
		Long: `Lists the tenant's secrets, the oldest first. Each flag keeps the secrets that match it exactly.
--resource is about secrets that were stored for one resource; miosa-env bindings list shows what is
bound where.`,
		Example: `  miosa-env secrets list
  miosa-env secrets list --type oauth_connect
  miosa-env secrets list --json | jq -r '.[].id'`,
		Args: noArguments,
	}, func(ctx context.Context, vault *secrets.Client, _ []string) error {
		filter := whose.filter()
		filter.Type, filter.Resource = kind, resource.Resource
		list, err := vault.List(ctx, filter)
		if err != nil {
			return err
		}
		if asJSON || len(list) == 0 {
			return p.noTable(asJSON, orEmpty(list), "there are no such secrets")
		}
		return secretTable(list, time.Now()).writeTo(p.stdout)
	})
	c.Flags().StringVar(&kind, "type", "", "`TYPE` such as api_key or oauth_connect")
	c.Flags().Var(&resource, "resource", "`RESOURCE` the one they are for: sandbox:ID or computer:ID")
	whose.addFlags(c.Flags(), true)
	addJSONFlag(c.Flags(), &asJSON, "a JSON list")
	p.completeWords(c)
	return c
}

func secretTable(list []api.Secret, now time.Time) *table {
	t := &table{head: []string{"NAME", "TYPE", "SCOPE", "FOR", "VERSION", "ROTATED", "EXPIRES", "STATE", "ID"}}
	for i := range list {
		s := &list[i]
		t.add(s.Name, s.Type, s.Scope, whose(s), versionOf(s.Version), when(s.UpdatedAt, now),
			ends(s.ExpiresAt, now), oauthState(s), s.ID)
	}
	return t
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
