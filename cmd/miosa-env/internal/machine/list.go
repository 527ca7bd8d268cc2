package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// listed is a binding as list --json prints it.
type listed struct {
	Variable  string     `json:"variable"`
	Secret    string     `json:"secret"` // its name; empty if the vault doesn't return it
	Version   int64      `json:"version"`
	RotatedAt *time.Time `json:"rotated_at"` // null if the vault doesn't return it
	ExpiresAt *time.Time `json:"expires_at"` // null: never, or the vault doesn't return it. An expired one isn't served
	Delivery  string     `json:"delivery"`   // value, placeholder, or platform
	BindingID string     `json:"binding_id"`
	SecretID  string     `json:"secret_id"`
	origin
}

// origin is where a list comes from.
type origin struct {
	Vault string `json:"vault"` // its base URL; empty if an older agent doesn't return it
	Agent string `json:"agent"` // the socket of the agent that was asked; empty: the vault was
}

func (o origin) String() string {
	switch {
	case o.Agent == "":
		return "the vault " + o.Vault
	case o.Vault == "":
		return "the agent at " + o.Agent
	}
	return "the agent at " + o.Agent + ", which serves the vault " + o.Vault
}

// List returns the command list.
func List(p *program.Program) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Use:   "list [FLAG...]",
		Short: "List what is bound here, without the values",
		Long: `Lists the variables bound to this sandbox or computer: the secret of each, its version, its last
rotation, and its delivery: the value, a placeholder that a broker replaces, or the platform,
which sets the variable itself. An expired secret is listed until it is rotated or deleted, but
not delivered.

If an agent on this machine serves the values, it is asked first. The agent requests the list from
the vault; if the vault does not answer, it lists what it serves. Standard error, and vault and
agent of --json, state where the list comes from.`,
		Example: `  miosa-env list
  miosa-env list --json | jq -r '.[].variable'`,
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print a JSON list")
			p.AddFlags(f, "list")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			resource, rows, from, err := listBindings(ctx, p)
			switch {
			case err != nil:
				return err
			case asJSON:
				return cli.PrintJSON(p.Stdout, rows)
			case len(rows) == 0:
				fmt.Fprintf(p.Stderr, "miosa-env: nothing is bound to %s, says %s\n", resource, cli.OneLine(from.String()))
				return nil
			}
			t := program.Table{Head: []string{"VARIABLE", "SECRET", "VERSION", "ROTATED", "DELIVERY", "EXPIRES"}}
			for _, r := range rows {
				rotated := "-"
				if r.RotatedAt != nil {
					rotated = program.Ago(time.Since(*r.RotatedAt), *r.RotatedAt)
				}
				t.Add(r.Variable, cmp.Or(r.Secret, r.SecretID, "-"), cmp.Or(program.VersionOf(r.Version), "-"), rotated, cmp.Or(r.Delivery, "-"),
					program.EndsIfKnown(r.ExpiresAt))
			}
			if err := t.Write(p.Stdout); err != nil {
				return err
			}
			fmt.Fprintf(p.Stderr, "miosa-env: from %s\n", cli.OneLine(from.String()))
			return nil
		},
	}
}

// listBindings asks the agent if there is one, otherwise the vault. Rows are sorted by variable.
func listBindings(ctx context.Context, p *program.Program) (r api.Resource, rows []listed, from origin, err error) {
	s, err := newSupply(ctx, p)
	if err != nil {
		return r, nil, from, err
	}
	defer s.Close()
	bindings, from, err := s.bindings(ctx)
	rows = []listed{}
	for _, b := range bindings {
		// Some vaults don't know the filter, and return bindings of other resources.
		if b.Resource.ID != s.resource.ID || b.Resource.Type != "" && b.Resource.Type != s.resource.Type {
			continue
		}
		row := listed{
			Variable: b.ExposeAsEnv, Secret: b.SecretName, Version: b.Version, Delivery: b.Delivery, ExpiresAt: b.ExpiresAt,
			BindingID: b.ID, SecretID: b.SecretID, origin: from,
		}
		if !b.UpdatedAt.IsZero() {
			at := b.UpdatedAt.UTC()
			row.RotatedAt = &at
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b listed) int { return strings.Compare(a.Variable, b.Variable) })
	return s.resource, rows, from, err
}

// expiredVariables returns the variables whose secrets have expired; nil if the bindings can't be listed.
func expiredVariables(ctx context.Context, p *program.Program) (names []string) {
	_, rows, _, err := listBindings(ctx, p)
	for i := range rows {
		if at := rows[i].ExpiresAt; err == nil && at != nil && !at.After(time.Now()) {
			names = append(names, rows[i].Variable)
		}
	}
	return names
}

// markExpired says in the error of Build which of the missing variables have expired.
func markExpired(ctx context.Context, p *program.Program, prefix string, err error) error {
	if missing, ok := errors.AsType[*environ.MissingError](err); ok {
		for _, name := range expiredVariables(ctx, p) {
			if name = prefix + name; slices.Contains(missing.Names, name) {
				missing.Expired = append(missing.Expired, name)
			}
		}
	}
	return err
}

// bindings returns the bindings of the resource, and where they come from.
func (s *supply) bindings(ctx context.Context) ([]api.Binding, origin, error) {
	if s.local != nil {
		var bindings []api.Binding
		err := s.hurried(ctx, func(ctx context.Context) (err error) {
			bindings, err = s.local.Bindings(ctx)
			return err
		})
		if errors.Is(err, api.ErrMalformed) { // an older agent doesn't know the request
			var set api.Snapshot
			set, err = s.local.Ask(ctx)
			bindings = set.Bindings()
			set.Wipe()
		}
		if err == nil {
			from := origin{s.named, s.client.Path()}
			if s.named == "" {
				status, err := s.client.Status(ctx)
				if err != nil {
					return nil, origin{}, err
				}
				from.Vault = status.Vault
			}
			return bindings, from, nil
		}
		if _, _, err := s.instead(err); err != nil {
			return nil, origin{}, err
		}
	}
	bindings, err := s.vault.Bindings(ctx, fetch.BindingFilter{Resource: s.resource})
	for i, b := range bindings {
		bindings[i].Delivery = b.DeliveredAs()
	}
	return bindings, origin{Vault: s.vault.Vault()}, err
}
