package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/keytree"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

func (p *program) keysList() *cli.Command {
	var (
		location storeFlags
		tenant   string
		asJSON   bool
	)
	return &cli.Command{
		Use:   "list [--tenant NAME] [--json]",
		Short: "List keys, each followed by those that it has created, without the keys themselves",
		Flags: func(f *pflag.FlagSet) {
			location.add(f, createsNone)
			f.StringVar(&tenant, "tenant", "", "`NAME` only keys of this tenant")
			f.BoolVar(&asJSON, "json", false, "as a JSON array")
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			return location.with(ctx, p, func(s *store.Store) error {
				list, err := s.Keys(ctx, tenant)
				if err != nil {
					return err
				}
				return p.printKeys(list, asJSON)
			})
		},
	}
}

// listedKey is a key as `keys list --json` prints it.
type listedKey struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	Resource string `json:"resource,omitempty"` // "" for a tenant key and a broker key
	Broker   bool   `json:"broker,omitempty"`
	Label    string `json:"label"`
	ParentID string `json:"parent_id"`
	api.Restrictions
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	Altered    bool       `json:"altered,omitempty"` // outside of the vault: it is refused
}

func (p *program) printKeys(list []store.Key, asJSON bool) error {
	tenants := map[string]string{} // by key
	keys := make([]*api.IssuedKey, len(list))
	for i := range list {
		keys[i] = &list[i].IssuedKey
		tenants[keys[i].ID] = list[i].TenantName
	}
	if asJSON {
		listed := make([]listedKey, len(list))
		for i, k := range keys {
			listed[i] = listedKey{k.ID, tenants[k.ID], "", k.Broker, k.Label, k.ParentID, k.Restrictions, k.CreatedAt, k.ExpiresAt, k.LastUsedAt, k.RevokedAt, k.Altered}
			if k.Resource.ID != "" {
				listed[i].Resource = k.Resource.String()
			}
		}
		return cli.PrintJSON(p.stdout, listed)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTENANT\tRESOURCE\tLABEL\tCREATED\tEXPIRES\tLAST USED\tREVOKED\tRESTRICTED TO")
	for _, k := range keytree.Of(keys) {
		resource := ""
		switch {
		case k.Altered:
			resource = "altered"
		case k.Broker:
			resource = "broker"
		}
		if k.Resource.ID != "" {
			resource = k.Resource.String()
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Indent(), k.ID, tenants[k.ID], orDash(resource), orDash(cli.OneLine(k.Label)),
			when(&k.CreatedAt), when(k.ExpiresAt), when(k.LastUsedAt), when(k.RevokedAt), orDash(keytree.Limits(k.Restrictions)))
	}
	return w.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func (p *program) keysReplace() *cli.Command {
	var (
		location storeFlags
		grace    time.Duration
		expires  = cli.Moment{OrNever: true}
		out      string
	)
	return &cli.Command{
		Use:   "replace ID [--grace 24h] [--expires 720h] [--out FILE]",
		Short: "Create the successor of a key, and let the old one expire",
		Long: `Create a successor with the same label, resource and restrictions. It takes over the keys that the old
key has created, so that replacing a key stops no machine. The old key expires after the grace period.
The new key is printed as by keys create. A key can be replaced once; afterwards, replace its successor.`,
		Args: oneKey,
		Flags: func(f *pflag.FlagSet) {
			location.add(f, createsNone)
			f.DurationVar(&grace, "grace", api.DefaultGrace, "`DURATION` how long the old key is valid; 0 revokes it at once")
			f.Var(&expires, "expires", "`WHEN` the new key expires: 720h, 30d, 2030-01-02T15:04:05Z, or never (default: after the lifetime of the old key)")
			f.StringVar(&out, "out", "", "`FILE` write the key to this new file, mode 0600, instead of standard output")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if grace < 0 || grace > api.MaxGrace {
				return usage("--grace must be from 0 to a year, 8760h", "give a time such as 48h")
			}
			return location.with(ctx, p, func(s *store.Store) error {
				return p.writeKey(out, func() (api.IssuedKey, error) {
					k, err := s.ReplaceKey(ctx, store.Operator(), inv.Args[0], store.Replacement{Grace: grace, ExpiresAt: expires.At, Never: expires.Never})
					return k, unknownKey(ctx, s, err, inv.Args[0])
				})
			})
		},
	}
}

func (p *program) keysRevoke() *cli.Command {
	var (
		location storeFlags
		children keytree.Children
		tenant   string
		before   string
	)
	return &cli.Command{
		Use:   "revoke ID [--with-children | --keep-children] | --issued-before TIME --tenant NAME",
		Short: "Revoke a key by its id; reveals that wait under it end at once",
		Long: `Revoke a key by its id. Its waiting reveals end at once. If the key has created keys that are valid, the
command lists them and asks whether to revoke them too, unless --with-children or --keep-children is
set. Otherwise it does not ask for confirmation.

With --issued-before, revoke all keys of a tenant that were created before a time, such as
2030-01-02T15:04:05Z or 7d ago.`,
		Args: func(args []string) error {
			if before != "" {
				return cli.NoArguments(args)
			}
			return oneKey(args)
		},
		Flags: func(f *pflag.FlagSet) {
			location.add(f, createsNone)
			children.AddFlags(f)
			f.StringVar(&before, "issued-before", "", "`TIME` revoke all keys of the tenant that were created before this time")
			f.StringVar(&tenant, "tenant", "", "`NAME` the tenant, for --issued-before")
			cli.NeverAsks(f)
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := children.Check(); err != nil {
				return err
			}
			if before != "" {
				return p.revokeBefore(ctx, location, tenant, before)
			}
			return location.with(ctx, p, func(s *store.Store) error { return p.revoke(ctx, s, inv.Args[0], children) })
		},
	}
}

func oneKey(args []string) error {
	if len(args) == 0 {
		return usage("the key's id is missing", "miosa-vault keys list shows the ids")
	}
	return cli.NoArguments(args[1:])
}

func (p *program) revoke(ctx context.Context, s *store.Store, id string, children keytree.Children) error {
	under, err := s.KeysUnder(ctx, store.Operator(), id)
	if err != nil {
		return unknownKey(ctx, s, err, id)
	}
	choice, err := children.Choose(keytree.Pointers(under), p.stdin, p.stderr)
	if err != nil {
		return err
	}
	revoked, err := s.Revoke(ctx, store.Operator(), id, choice)
	if err != nil {
		return unknownKey(ctx, s, err, id)
	}
	return p.printRevoked(revoked)
}

func (p *program) revokeBefore(ctx context.Context, location storeFlags, tenant, text string) error {
	if tenant == "" {
		return usage("--issued-before needs a tenant", "name it with --tenant")
	}
	before, err := time.Parse(time.RFC3339, text)
	if ago, ok := api.ParseAgo(text); ok {
		before, err = time.Now().Add(-ago), nil
	}
	if err != nil {
		return cli.Usage(errors.New("--issued-before "+cli.Quote(text)+": want a time such as 2030-01-02T15:04:05Z, or how long ago it was, such as 7d"), "see miosa-vault keys revoke --help")
	}
	return location.with(ctx, p, func(s *store.Store) error {
		operator, err := localActor(ctx, s, tenant)
		if err != nil {
			return err
		}
		revoked, err := s.RevokeIssuedBefore(ctx, operator, before)
		if err != nil {
			return err
		}
		return p.printRevoked(revoked)
	})
}

// printRevoked prints a line for each key that was revoked or kept.
func (p *program) printRevoked(revoked api.RevokedKeys) error {
	if len(revoked.Revoked) == 0 {
		fmt.Fprintln(p.stderr, "no key was valid: nothing was revoked")
	}
	for i := range revoked.Revoked {
		fmt.Fprintln(p.stderr, "revoked:", cli.OneLine(keytree.Name(&revoked.Revoked[i])))
	}
	for i := range revoked.Kept {
		fmt.Fprintln(p.stderr, "kept:", cli.OneLine(keytree.Name(&revoked.Kept[i])))
	}
	return nil
}

// unknownKey adds a hint to the error of a key that doesn't exist.
func unknownKey(ctx context.Context, s *store.Store, err error, id string) error {
	return cli.UnknownID(err, id, "miosa-vault keys list",
		func() ([]store.Key, error) { return s.Keys(ctx, "") },
		func(k *store.Key) string { return k.ID })
}
