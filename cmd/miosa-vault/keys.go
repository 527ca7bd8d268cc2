package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/keytree"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

func (p *program) keys() *cli.Command {
	return &cli.Command{
		Use:   "keys",
		Short: "Create, list, replace, revoke and rotate keys",
		Long: `Create, list, replace, revoke and rotate keys. The commands work on the database directly, whether or
not a vault is running on it; a running vault notices changes at once.`,
		Commands: []*cli.Command{p.keysCreate(), p.keysList(), p.keysReplace(), p.keysRevoke(), p.keysRotate(), p.keysRoot()},
	}
}

func (p *program) keysCreate() *cli.Command {
	var (
		location    storeFlags
		n           api.KeyRequest
		tenant, out string
		resources   []string
		expires     cli.Moment
	)
	return &cli.Command{
		Use:   "create --tenant NAME [[--broker] --resource sandbox:ID] [--expires 720h] [--out FILE]",
		Short: "Create a tenant key (and its tenant), a resource key or a broker key",
		Long: `Create one of three kinds of keys:

  tenant key    manages secrets, bindings and keys; may be restricted to permissions, scopes and
                resources. Creates the tenant and the vault if they do not exist
  resource key  with --resource: lists and reveals the bindings of that resource
  broker key    with --broker and --resource: for a broker, reveals the values that these resources
                have placeholders for

The key is printed once, on standard output, or with --out written to a new file. The vault stores only
a hash. The key's id is printed on standard error.`,
		Flags: func(f *pflag.FlagSet) {
			location.add(f, createsFirst)
			f.StringVar(&tenant, "tenant", "", "`NAME` the tenant's name (required)")
			f.Var(setting.List(&resources), "resource", "`RESOURCE` the sandbox:ID or computer:ID that the key is for; a list for a broker key")
			f.BoolVar(&n.Broker, "broker", false, "create a broker key for these resources")
			f.Var(&expires, "expires", "`WHEN` the key expires: 720h, 30d, or 2030-01-02T15:04:05Z (default: never)")
			f.StringVar(&out, "out", "", "`FILE` write the key to this new file, mode 0600, instead of standard output")
			keytree.AddFlags(f, &n)
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			n.ExpiresAt = expires.At
			return p.createKey(ctx, location, tenant, resources, n, out)
		},
	}
}

func (p *program) createKey(ctx context.Context, f storeFlags, tenant string, resources []string, n api.KeyRequest, out string) error {
	if tenant == "" {
		return usage("--tenant is required", "name the tenant, as in --tenant acme")
	}
	if n.Broker {
		return p.createBrokerKey(ctx, f, tenant, resources, n, out)
	}
	if len(resources) > 1 {
		return usage("--resource: a resource key is for one resource", "create a key for each, or add --broker")
	}
	r, err := parseResource(strings.Join(resources, ""))
	if err != nil {
		return err
	}
	if r != nil && (n.Permissions != nil || n.Resources != nil) {
		return usage("--permissions and --only-resources are for tenant keys, not with --resource", "leave them out")
	}
	if err := n.Restrictions.Validate(); err != nil {
		return cli.Usage(err, "see miosa-vault keys create --help")
	}
	s, err := f.openOrCreate(ctx, p, r == nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if r == nil {
		return p.writeKey(out, func() (api.IssuedKey, error) { return s.IssueFirstKey(ctx, tenant, n) })
	}
	n.Resource = *r
	operator, err := localActor(ctx, s, tenant)
	if err != nil {
		return err
	}
	return p.writeKey(out, func() (api.IssuedKey, error) { return s.IssueResourceKey(ctx, operator, n) })
}

func (p *program) createBrokerKey(ctx context.Context, f storeFlags, tenant string, resources []string, n api.KeyRequest, out string) error {
	if err := keytree.ForBroker(&n, resources); err != nil {
		return err
	}
	return f.with(ctx, p, func(s *store.Store) error {
		operator, err := localActor(ctx, s, tenant)
		if err != nil {
			return err
		}
		return p.writeKey(out, func() (api.IssuedKey, error) { return s.IssueKey(ctx, operator, n) })
	})
}

// localActor is the operator for a tenant.
func localActor(ctx context.Context, s *store.Store, tenant string) (store.Actor, error) {
	a, err := s.LocalActor(ctx, tenant)
	if errors.Is(err, api.ErrNotFound) {
		err = cli.WithHint(err, nearTenant(ctx, s, tenant)+"create the tenant first: miosa-vault keys create --tenant NAME")
	}
	return a, err
}

// nearTenant is the beginning of a hint: the tenant with a similar name, if there is one.
func nearTenant(ctx context.Context, s *store.Store, name string) string {
	list, _ := s.Keys(ctx, "") // only for the hint
	return cli.Meant(name, cli.Texts(list, func(k *store.Key) string { return k.TenantName }))
}

// writeKey creates a key and writes it to a new file, or with out "" to stdout.
func (p *program) writeKey(out string, issue func() (api.IssuedKey, error)) error {
	var made api.IssuedKey
	content := func() (key string, err error) {
		made, err = issue()
		return made.Key + "\n", err
	}
	var err error
	if out != "" {
		err = newfile.Write(out, content)
	} else if text, issueErr := content(); issueErr != nil {
		err = issueErr
	} else {
		_, err = io.WriteString(p.stdout, text)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return cli.WithHint(err, "name another file, or move this one away")
	case err != nil && made.ID != "":
		return cli.WithHint(err, "nobody has the key: miosa-vault keys revoke "+made.ID)
	case err != nil:
		return err
	}
	fmt.Fprintln(p.stderr, "id:", made.ID)
	return nil
}

func (p *program) keysRotate() *cli.Command {
	var (
		location  storeFlags
		tenant    string
		all, root bool
	)
	return &cli.Command{
		Use:   "rotate [--all | --tenant NAME | --root]",
		Short: "Give tenants new data keys and re-encrypt, or create a new root key",
		Long: `Create a new data key for every tenant (with --tenant, for one), re-encrypt everything under it, and
delete the old one; or, with --root, replace the root key in its file. Vaults keep serving meanwhile.
If the command is interrupted, nothing is lost; run it again to complete the rotation.`,
		Flags: func(f *pflag.FlagSet) {
			location.add(f, createsNone)
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
		Short: "Create a new root key in a file",
		Long: `Create a root key in a new file that only its owner can read. Keep a copy in a safe place apart from the
data: without the key nobody can read the data, and with both anybody can.`,
		Flags: func(f *pflag.FlagSet) {
			f.StringVar(&out, "out", "", "`FILE` the new file, 0600 (required)")
		},
		Run: func(context.Context, *cli.Invocation) error {
			if out == "" {
				return usage("--out is required", "name the file to create, outside the data directory")
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
