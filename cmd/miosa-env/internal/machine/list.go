package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// listed is a binding as list --json prints it.
type listed struct {
	Variable  string     `json:"variable"`
	Secret    string     `json:"secret"` // its name; empty where the vault doesn't tell
	Version   int64      `json:"version"`
	RotatedAt *time.Time `json:"rotated_at"` // null where the vault doesn't tell
	Delivery  string     `json:"delivery"`   // value, placeholder, or platform
	BindingID string     `json:"binding_id"`
	SecretID  string     `json:"secret_id"`
	origin
}

// origin is where what a command shows comes from.
type origin struct {
	Vault string `json:"vault"` // its base URL; empty where an older agent doesn't tell
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
func List(p *program.Program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [FLAG...]",
		Short: "List what is bound here, without the values",
		Long: `Lists the variables bound to this sandbox or computer: the secret behind each, its version,
when it was rotated last, and how run gets it: as the value, as a placeholder that a proxy at the
network's edge replaces, or from the platform, which sets the variable itself.

An agent on this machine that serves them is asked first. It asks the vault in turn, and while that
doesn't answer it lists what it has. Where the list comes from is printed on standard error, and is
in vault and agent of --json.`,
		Example: `  miosa-env list
  miosa-env list --json | jq -r '.[].variable'`,
		Args: cli.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.Begin(c); err != nil {
				return err
			}
			resource, rows, from, err := boundRows(c.Context(), p)
			if err != nil {
				return err
			}
			if asJSON {
				return program.PrintJSON(p.Stdout, rows)
			}
			if len(rows) == 0 {
				fmt.Fprintf(p.Stderr, "miosa-env: nothing is bound to %s, says %s\n", resource, cli.OneLine(from.String()))
				return nil
			}
			if err := printTable(p.Stdout, rows, time.Now()); err != nil {
				return err
			}
			fmt.Fprintf(p.Stderr, "miosa-env: from %s\n", cli.OneLine(from.String()))
			return nil
		},
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	AddAgentFlag(p, c.Flags())
	return c
}

// rows asks the agent, where there is one, else the vault.
func boundRows(ctx context.Context, p *program.Program) (r api.Resource, rows []listed, from origin, err error) {
	s, err := newSupply(ctx, p)
	if err != nil {
		return r, nil, from, err
	}
	defer s.Close()
	bindings, from, err := s.bindings(ctx)
	rows = rowsOf(s.resource, bindings)
	for i := range rows {
		rows[i].origin = from
	}
	return s.resource, rows, from, err
}

// bindings lists what is bound, and says where that is from.
func (s *supply) bindings(ctx context.Context) ([]api.Binding, origin, error) {
	if s.local != nil {
		var bindings []api.Binding
		err := s.hurried(ctx, func(ctx context.Context) (err error) {
			bindings, err = s.local.Bindings(ctx)
			return err
		})
		if errors.Is(err, api.ErrMalformed) { // of an agent that doesn't know the question
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

// rowsOf sorts by variable. A vault that doesn't know the filter lists other resources' bindings too.
func rowsOf(r api.Resource, bindings []api.Binding) []listed {
	rows := []listed{}
	for _, b := range bindings {
		if b.Resource.ID != r.ID || b.Resource.Type != "" && b.Resource.Type != r.Type {
			continue
		}
		row := listed{
			Variable: b.ExposeAsEnv, Secret: b.SecretName, Version: b.Version, Delivery: b.Delivery,
			BindingID: b.ID, SecretID: b.SecretID,
		}
		if !b.UpdatedAt.IsZero() {
			at := b.UpdatedAt.UTC()
			row.RotatedAt = &at
		}
		rows = append(rows, row)
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Variable < rows[j].Variable })
	return rows
}

func printTable(w io.Writer, rows []listed, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VARIABLE\tSECRET\tVERSION\tROTATED\tDELIVERY")
	for _, r := range rows {
		version, rotated := "-", "-"
		if r.Version > 0 {
			version = strconv.FormatInt(r.Version, 10)
		}
		if r.RotatedAt != nil {
			rotated = program.Ago(now.Sub(*r.RotatedAt), *r.RotatedAt)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", program.Cell(r.Variable), program.Cell(cmp.Or(r.Secret, r.SecretID)), version, rotated, program.Cell(r.Delivery))
	}
	return t.Flush()
}
