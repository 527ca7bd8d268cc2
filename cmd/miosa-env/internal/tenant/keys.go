package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/keytree"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func keysCommand(p *program.Program) *cli.Command {
	return group("keys", "Create, list, replace and revoke keys",
		`A resource key (msk_r_...) only lists and reads what is bound to one sandbox or computer: miosa-env
uses it there. A broker key (msk_b_...) reads the values that its sandboxes and computers have
placeholders for. A tenant key (msk_u_...) manages secrets, bindings and keys, only some of them if it
is restricted. These commands need a tenant key, as miosa-env secrets does.`,
		keysCreateCommand(p), keysListCommand(p), keysSelfCommand(p), keysReplaceCommand(p), keysRevokeCommand(p),
	)
}

// newKey is where a new key goes.
type newKey struct {
	out    string // a new file; "": standard output
	asJSON bool
}

func (n *newKey) addFlags(f *pflag.FlagSet) {
	f.StringVar(&n.out, "out", "", "`FILE` a new file, 0600, that the key is written to")
	addJSONFlag(f, &n.asJSON, "a JSON object, with the key in it unless that goes to --out")
}

// forTenant is the argument of keys create for a tenant key. A missing argument is an error: a tenant key may do
// more than a resource key.
const forTenant = "tenant"

func keysCreateCommand(p *program.Program) *cli.Command {
	var n api.KeyRequest
	var handles []string
	var expires cli.Moment
	var to newKey
	return vaultCommand(p, &cli.Command{
		Use:   "create [FLAG...] RESOURCE|tenant | --broker --resource LIST",
		Short: "Create a key for a sandbox or computer, or a tenant key, and print it this once",
		Long: `Creates a key for one sandbox or computer; with the word tenant a tenant key, which may be restricted
to permissions, scopes and resources; with --broker a key for the broker of some sandboxes and
computers. A restricted key creates only keys within its own restrictions.

The key is printed on standard output, or with --out written to a new file that only its owner can
read. Its id is printed on standard error. The vault stores only a hash, so the key cannot be shown
again.`,
		Example: `  miosa-env keys create sandbox:sb_1 --out sb_1.key --expires 720h
  miosa-env keys create --broker --resource sandbox:sb_1,sandbox:sb_2 --out broker.key
  miosa-env keys create tenant --label ci --permissions secrets:write --only-scopes workspace --out ci.key`,
		Args: func(args []string) (err error) {
			if n.Broker || handles != nil {
				return brokerKey(&n, handles, args)
			}
			if err = oneArgument("the resource, or the word tenant,")(args); err == nil && args[0] != forTenant {
				if n.Resource, err = cli.ParseResource(args[0]); err != nil && !strings.Contains(args[0], ":") {
					err = cli.WithHint(errors.New("want sandbox:ID, computer:ID or the word tenant"), "see miosa-env keys create --help")
				}
			}
			if err == nil && args[0] != forTenant && (n.Permissions != nil || n.Resources != nil) {
				err = cli.WithHint(errors.New("--permissions and --only-resources are for tenant keys"), "leave them out, or create a key with the word tenant")
			}
			return cmp.Or(err, n.Restrictions.Validate())
		},
		Complete: cli.First(completeResources(p, "")),
		Flags: func(f *pflag.FlagSet) {
			keytree.AddFlags(f, &n)
			keytree.AddBrokerFlags(f, &n, &handles)
			f.Var(&expires, "expires", "`WHEN` it expires: 720h, 30d, or 2030-01-02T15:04:05Z (default: never)")
			to.addFlags(f)
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		n.ExpiresAt = expires.At
		return to.write(p, func() (api.IssuedKey, error) {
			return vault.IssueKey(ctx, n)
		})
	})
}

// brokerKey checks the arguments of keys create for a broker key.
func brokerKey(n *api.KeyRequest, handles, args []string) error {
	switch {
	case !n.Broker:
		return cli.WithHint(errors.New("--resource is for broker keys"), "add --broker, or give the resource as the argument")
	case len(args) > 0:
		return cli.WithHint(errors.New("unexpected argument "+cli.Quote(args[0])), "a broker key's sandboxes and computers are given with --resource")
	}
	return keytree.ForBroker(n, handles)
}

func keysReplaceCommand(p *program.Program) *cli.Command {
	grace := api.DefaultGrace
	expires := cli.Moment{OrNever: true}
	var to newKey
	return vaultCommand(p, &cli.Command{
		Use:   "replace [FLAG...] ID",
		Short: "Create the successor of a key, and let the old one expire",
		Long: `Creates a successor with the same label, resource and restrictions. It takes over the keys that the
old key has created, so that replacing a key stops no machine. Put the new key into place before the
old one expires, after the grace period. The new key is printed as by keys create.

A key can be replaced once; afterwards, replace its successor.`,
		Example:  `  miosa-env keys replace key_2b7nq --grace 48h --out ci.key`,
		Args:     oneArgument("the key's id"),
		Complete: cli.First(completeWords(p, keyIDs)),
		Flags: func(f *pflag.FlagSet) {
			f.Var(setting.Duration(&grace), "grace", "`DURATION` how long the old key is valid; 0 revokes it at once")
			f.Var(&expires, "expires", "`WHEN` the new key expires: 720h, 30d, 2030-01-02T15:04:05Z, or never (default: after the lifetime of the old key)")
			to.addFlags(f)
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if grace > api.MaxGrace {
			return cli.Usage(errors.New("--grace must be from 0 to a year, 8760h"), "give a time such as 48h")
		}
		return to.write(p, func() (api.IssuedKey, error) {
			if expires.Never {
				expires.At = new(time.Time)
			}
			made, err := vault.ReplaceKey(ctx, inv.Args[0], grace, expires.At)
			return made, unknownKey(ctx, vault, err, inv.Args[0])
		})
	})
}

// write creates a key and writes it.
func (n *newKey) write(p *program.Program, issue func() (api.IssuedKey, error)) error {
	var made api.IssuedKey
	create := func() (_ string, err error) {
		if made, err = issue(); err != nil {
			return "", err
		}
		fmt.Fprintf(p.Stderr, "miosa-env: created the key %s of %s\n", cli.OneLine(made.ID), keytree.For(&made))
		return made.Key + "\n", nil
	}
	var text string
	var err error
	if n.out == "" {
		text, err = create()
	} else if err = newfile.Write(n.out, create); err == nil {
		made.Key = "" // not in the JSON object
	}
	switch {
	case err == nil && n.asJSON:
		err = cli.PrintJSON(p.Stdout, made)
	case err == nil && n.out == "":
		_, err = io.WriteString(p.Stdout, text)
	}
	switch why := cause.Of(err); {
	case err == nil:
		return nil
	case made.ID != "":
		return cli.WithHint(err, "nobody has the key: miosa-env keys revoke "+made.ID)
	case errors.Is(err, fs.ErrExist):
		return cli.WithHint(fmt.Errorf("key file %s: %w", n.out, why), "name another file, or move this one away")
	case !errors.Is(why, err):
		return cli.WithHint(fmt.Errorf("key file %s: %w", n.out, why), "check the path, and that this user may write there")
	}
	return err
}

// unknownKey adds a hint to the error of a key that the vault doesn't know.
func unknownKey(ctx context.Context, vault *secrets.Client, err error, id string) error {
	return cli.UnknownID(err, id, "miosa-env keys list",
		func() ([]api.IssuedKey, error) { return vault.Keys(ctx, api.Resource{}) },
		func(k *api.IssuedKey) string { return k.ID })
}

func keysListCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var resource api.Resource
	return vaultCommand(p, &cli.Command{
		Use:   "list [FLAG...]",
		Short: "List keys, revoked ones too, without the keys themselves",
		Long: `Lists the tenant's keys, each followed by the keys that it has created. A restricted key lists only
itself and the keys under it. LAST USED may be a minute old.`,
		Example: `  miosa-env keys list --resource sandbox:sb_1`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` only keys of sandbox:ID or computer:ID")
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		list, err := vault.Keys(ctx, resource)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSONList(p, list)
		}
		when := func(at *time.Time) string {
			if at == nil {
				return ""
			}
			return program.When(*at)
		}
		return printList(p, false, keytree.Of(keytree.Pointers(list)), func() string {
			return "there are no such keys" + nearest.OrMeant(nearResource(ctx, vault, resource))
		}, []string{"RESOURCE", "LABEL", "CREATED", "LAST USED", "EXPIRES", "REVOKED", "RESTRICTED TO", "ID"}, func(k *keytree.Node) []string {
			return []string{k.Indent() + keytree.For(k.IssuedKey), cli.OneLine(k.Label), program.When(k.CreatedAt), when(k.LastUsedAt), program.Ends(k.ExpiresAt),
				when(k.RevokedAt), keytree.Limits(k.Restrictions), k.ID}
		})
	})
}

func keysSelfCommand(p *program.Program) *cli.Command {
	var asJSON bool
	return vaultCommand(p, &cli.Command{
		Use:   "self [FLAG...]",
		Short: "Show what the current tenant key may do",
		Long:  `Shows the tenant key that these commands use: its tenant, restrictions and expiry.`,
		Flags: func(f *pflag.FlagSet) { addJSONFlag(f, &asJSON, "a JSON object") },
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		own, err := vault.OwnKey(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p, own)
		}
		t := &program.Table{}
		for _, field := range [][]string{
			{"tenant", own.Tenant}, {"id", own.ID}, {"label", own.Label}, {"created by", own.ParentID},
			{"may", cmp.Or(strings.Join(own.Permissions, ", "), "everything but reveal")},
			{"only scopes", strings.Join(own.Scopes, ", ")}, {"only resources", strings.Join(own.Resources, ", ")},
			{"expires", program.Ends(own.ExpiresAt)},
		} {
			if field[1] != "" {
				t.Add(field[0], cli.OneLine(field[1]))
			}
		}
		return t.Write(p.Stdout)
	})
}

func keysRevokeCommand(p *program.Program) *cli.Command {
	var children keytree.Children
	before := cli.Moment{Past: true}
	return vaultCommand(p, &cli.Command{
		Use:   "revoke [FLAG...] ID | --issued-before WHEN",
		Short: "Revoke a key at once",
		Long: `Revokes a key by its id. The vault refuses it from then on, and its waiting requests end at once. If
the key has created keys that are valid, the command lists them and asks whether to revoke them too,
unless --with-children or --keep-children is set. Otherwise it does not ask for confirmation.

With --issued-before it revokes all keys of the tenant that were created before a time, except the one
that this command uses.`,
		Example: `  miosa-env keys revoke key_2b7nq
  miosa-env keys revoke --issued-before 2030-01-02T15:04:05Z`,
		Args: func(args []string) error {
			if err := children.Check(); err != nil {
				return err
			}
			if before.At == nil {
				return oneArgument("the key's id")(args)
			}
			return cli.NoArguments(args)
		},
		Complete: cli.First(completeWords(p, keyIDs)),
		Flags: func(f *pflag.FlagSet) {
			children.AddFlags(f)
			f.Var(&before, "issued-before", "`WHEN` all keys created before this time: 2030-01-02T15:04:05Z, or 7d ago")
			cli.NeverAsks(f)
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if before.At != nil {
			revoked, err := vault.RevokeKeysBefore(ctx, *before.At)
			return printRevoked(p, revoked, err)
		}
		id := inv.Args[0]
		all, _ := vault.Keys(ctx, api.Resource{}) // after an error, the vault refuses to revoke a key with children
		choice, err := children.Choose(keytree.Under(keytree.Pointers(all), id), p.Stdin, p.Stderr)
		if err != nil {
			return err
		}
		revoked, err := vault.RevokeKeyTree(ctx, id, choice)
		return printRevoked(p, revoked, unknownKey(ctx, vault, err, id))
	})
}

// printRevoked prints a line for each key that was revoked or kept.
func printRevoked(p *program.Program, revoked api.RevokedKeys, err error) error {
	if err != nil {
		return err
	}
	var lines []string
	for i := range revoked.Revoked {
		lines = append(lines, "revoked "+keytree.Name(&revoked.Revoked[i]))
	}
	for i := range revoked.Kept {
		lines = append(lines, "kept "+keytree.Name(&revoked.Kept[i]))
	}
	if len(lines) == 0 {
		lines = []string{"no key was valid: nothing was revoked"}
	}
	for _, line := range lines {
		if err := printDone(p, line); err != nil {
			return err
		}
	}
	return nil
}
