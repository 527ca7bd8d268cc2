package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

func (p *program) keys() *cli.Command {
	return &cli.Command{
		Use:   "keys",
		Short: "Make, list, revoke and rotate keys",
		Long: `Make, list, revoke and rotate keys. They work on the data folder directly, whether a server
is running or not; a running one notices at once.`,
		Commands: []*cli.Command{p.keysCreate(), p.keysList(), p.keysRevoke(), p.keysRotate(), p.keysRoot()},
	}
}

func (p *program) keysCreate() *cli.Command {
	var (
		location              storeFlags
		tenant, resource, out string
		expires               time.Duration
	)
	return &cli.Command{
		Use:   "create --tenant NAME [--resource sandbox:ID [--expires 720h]] [--out FILE]",
		Short: "Make a tenant key, and the tenant with it, or a resource key",
		Long: `Make a tenant key, and the tenant and the vault too where there is none; or, with --resource, a key that may
list and reveal the bindings of that one resource.

The key is printed on stdout, once, or written to a new file with --out: the vault keeps only a hash of it. Its id
goes to stderr.`,
		Flags: func(f *pflag.FlagSet) {
			location.add(f, makesFirst)
			f.StringVar(&tenant, "tenant", "", "`NAME` the tenant's name (required)")
			f.StringVar(&resource, "resource", "", "`RESOURCE` the sandbox:ID or computer:ID that the key is for")
			f.DurationVar(&expires, "expires", 0, "`DURATION` the resource key expires after this time, such as 720h (default: never)")
			f.StringVar(&out, "out", "", "`FILE` a new file, 0600, that the key is written to instead of stdout")
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			return p.createKey(ctx, location, tenant, resource, expires, out)
		},
	}
}

func (p *program) createKey(ctx context.Context, f storeFlags, tenant, resource string, expires time.Duration, out string) error {
	switch {
	case tenant == "":
		return usage("--tenant is required", "name the tenant, as in --tenant acme")
	case resource == "" && expires != 0:
		return usage("--expires is for resource keys", "add --resource, or revoke the tenant key when it is no longer needed")
	case expires < 0:
		return usage("--expires must be more than 0", "give a time such as 720h")
	}
	r, err := parseResource(resource)
	if err != nil {
		return err
	}
	s, err := f.openOrCreate(ctx, p, r == nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	var operator store.Actor
	var until *time.Time
	if r != nil {
		operator, err = s.LocalActor(ctx, tenant)
		if errors.Is(err, api.ErrNotFound) {
			return cli.WithHint(err, nearTenant(ctx, s, tenant)+"make the tenant first: miosa-vault keys create --tenant NAME")
		}
		if err != nil {
			return err
		}
		if expires > 0 {
			t := time.Now().Add(expires)
			until = &t
		}
	}
	mint := func() (key, id string, err error) {
		if r == nil {
			made, err := s.CreateTenantKey(ctx, tenant)
			return made.Key.Reveal(), made.ID, err
		}
		made, err := s.CreateResourceKey(ctx, operator, *r, until)
		return made.Key, made.ID, err
	}
	return p.writeKey(mint, out)
}

// nearTenant is the beginning of a hint: the tenant with a similar name, if there is one.
func nearTenant(ctx context.Context, s *store.Store, name string) string {
	list, _ := s.Keys(ctx, "") // only for the hint
	return cli.Meant(name, cli.Texts(list, func(k *store.Key) string { return k.TenantName }))
}

// writeKey creates a key and writes it to a new file, or with out "" to stdout.
func (p *program) writeKey(mint func() (key, id string, err error), out string) error {
	id := ""
	content := func() (key string, err error) {
		key, id, err = mint()
		return key + "\n", err
	}
	var err error
	if out != "" {
		err = newfile.Write(out, content)
	} else if text, mintErr := content(); mintErr != nil {
		err = mintErr
	} else {
		_, err = io.WriteString(p.stdout, text)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return cli.WithHint(err, "name another file, or move this one away")
	case err != nil && id != "":
		return cli.WithHint(err, "nobody has the key: miosa-vault keys revoke "+id)
	case err != nil:
		return err
	}
	fmt.Fprintln(p.stderr, "id:", id)
	return nil
}

func (p *program) keysList() *cli.Command {
	var (
		location storeFlags
		tenant   string
		asJSON   bool
	)
	return &cli.Command{
		Use:   "list [--tenant NAME] [--json]",
		Short: "List keys, without the keys themselves",
		Flags: func(f *pflag.FlagSet) {
			location.add(f, makesNone)
			f.StringVar(&tenant, "tenant", "", "`NAME` only those of this tenant")
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
	ID        string     `json:"id"`
	Tenant    string     `json:"tenant"`
	Resource  string     `json:"resource,omitempty"` // "" for a tenant key
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
	RevokedAt *time.Time `json:"revoked_at"`
}

func (p *program) printKeys(list []store.Key, asJSON bool) error {
	listed := make([]listedKey, len(list))
	for i, k := range list {
		listed[i] = listedKey{k.ID, k.TenantName, "", k.CreatedAt, k.ExpiresAt, k.RevokedAt}
		if k.Resource.ID != "" {
			listed[i].Resource = k.Resource.String()
		}
	}
	if asJSON {
		return cli.PrintJSON(p.stdout, listed)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTENANT\tRESOURCE\tCREATED\tEXPIRES\tREVOKED")
	when := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	for _, k := range listed {
		if k.Resource == "" {
			k.Resource = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Tenant, k.Resource, when(&k.CreatedAt), when(k.ExpiresAt), when(k.RevokedAt))
	}
	return w.Flush()
}

func (p *program) keysRevoke() *cli.Command {
	var location storeFlags
	return &cli.Command{
		Use:   "revoke ID",
		Short: "Revoke a key by its id; reveals that wait under it end at once",
		Long: `Revoke a key by its id. Reveals that wait under it end at once. It doesn't ask: where a key has leaked there is no time
to lose.`,
		Args: func(args []string) error {
			if len(args) == 0 {
				return usage("the key's id is missing", "miosa-vault keys list shows the ids")
			}
			return cli.NoArguments(args[1:])
		},
		Flags: func(f *pflag.FlagSet) {
			location.add(f, makesNone)
			cli.NeverAsks(f)
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			return location.with(ctx, p, func(s *store.Store) error {
				return cli.UnknownID(s.RevokeKey(ctx, inv.Args[0]), inv.Args[0], "miosa-vault keys list",
					func() ([]store.Key, error) { return s.Keys(ctx, "") },
					func(k *store.Key) string { return k.ID })
			})
		},
	}
}

func (p *program) keysRotate() *cli.Command {
	var (
		location  storeFlags
		tenant    string
		all, root bool
	)
	return &cli.Command{
		Use:   "rotate [--all | --tenant NAME | --root]",
		Short: "Give tenants new data keys and re-encrypt, or make a new root key",
		Long: `Give every tenant (or one, with --tenant) a new data key, re-encrypt everything under it and drop the
old one; or, with --root, replace the root key in its file. Servers go on meanwhile. Stopped at any point nothing
is lost, and running it again completes it.`,
		Flags: func(f *pflag.FlagSet) {
			location.add(f, makesNone)
			f.StringVar(&tenant, "tenant", "", "`NAME` only this tenant")
			f.BoolVar(&all, "all", false, "every tenant (the default)")
			f.BoolVar(&root, "root", false, "the root key instead of data keys")
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			if all && root || tenant != "" && (all || root) {
				return usage("--all, --tenant and --root don't go together", "give one of them")
			}
			return location.with(ctx, p, func(s *store.Store) error {
				if root {
					return s.RotateRoot(ctx)
				}
				rows, err := s.RotateKeys(ctx, tenant)
				if err == nil {
					fmt.Fprintln(p.stderr, "re-encrypted:", rows)
				}
				return err
			})
		},
	}
}

func (p *program) keysRoot() *cli.Command {
	var out string
	return &cli.Command{
		Use:   "root --out FILE",
		Short: "Make a new root key in a file",
		Long: `Make a new root key in a new file that only its owner may read. Keep a copy somewhere safe and not beside the
data: without it the data can't be read, and with both anybody can.`,
		Flags: func(f *pflag.FlagSet) {
			f.StringVar(&out, "out", "", "`FILE` the new file, 0600 (required)")
		},
		Run: func(context.Context, *cli.Invocation) error {
			if out == "" {
				return usage("--out is required", "name the file to make, outside the data folder")
			}
			err := newfile.Write(out, func() (string, error) {
				key, err := keyring.NewRoot()
				return key.Reveal() + "\n", err
			})
			if errors.Is(err, fs.ErrExist) {
				return cli.WithHint(err, "name another file: what an old root key has wrapped, a new one can't open")
			}
			return err
		},
	}
}
