package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func keysCommand(p *program.Program) *cli.Command {
	return group("keys", "Make, list and revoke keys of sandboxes and computers",
		`A resource key (msk_r_...) lists and reads what is bound to one sandbox or computer, and does
nothing else: it is what miosa-env runs with there. These commands take a tenant key, as miosa-env
secrets does.`,
		keysCreateCommand(p), keysListCommand(p), keysRevokeCommand(p),
	)
}

func keysCreateCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var resource api.Resource
	var expires expiry
	var out string
	return vaultCommand(p, &cli.Command{
		Use:   "create [FLAG...] RESOURCE",
		Short: "Make a key for a sandbox or computer, and print it this once",
		Long: `Makes a key for one sandbox or computer. It goes to standard output and nothing else does, or with
--out to a new file that only its owner may read. Standard error gets its id. The vault keeps only a
hash: the key can't be shown again.`,
		Example: `  miosa-env keys create sandbox:sb_1 --out sb_1.key --expires 720h`,
		Args: func(args []string) (err error) {
			if err = oneArgument("the resource")(args); err == nil {
				resource, err = cli.ParseResource(args[0])
			}
			return err
		},
		Complete: cli.First(completeResources(p, "")),
		Flags: func(f *pflag.FlagSet) {
			f.StringVar(&out, "out", "", "`FILE` a new file, 0600, that the key is written to")
			f.Var(&expires, "expires", "`WHEN` it expires: 720h, or 2030-01-02T15:04:05Z (default: never)")
			addJSONFlag(f, &asJSON, "a JSON object, with the key in it unless that goes to --out")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		return createKey(ctx, p, vault, resource, expires.at, out, asJSON)
	})
}

// createKey creates a key and writes it to the new file out, or to standard output if out is empty.
func createKey(ctx context.Context, p *program.Program, vault *secrets.Client, r api.Resource, expires *time.Time, out string, asJSON bool) error {
	var made api.IssuedKey
	create := func() (_ string, err error) {
		if made, err = vault.CreateKey(ctx, r, expires); err != nil {
			return "", err
		}
		fmt.Fprintf(p.Stderr, "miosa-env: made the key %s of %s\n", cli.OneLine(made.ID), r)
		return made.Key + "\n", nil
	}
	var text string
	var err error
	if out == "" {
		text, err = create()
	} else if err = newfile.Write(out, create); err == nil {
		made.Key = "" // not in the JSON object
	}
	switch {
	case err == nil && asJSON:
		err = cli.PrintJSON(p.Stdout, made)
	case err == nil && out == "":
		_, err = io.WriteString(p.Stdout, text)
	}
	switch why := cause.Of(err); {
	case err == nil:
		return nil
	case made.ID != "":
		return cli.WithHint(err, "nobody has the key: miosa-env keys revoke "+made.ID)
	case errors.Is(err, fs.ErrExist):
		return cli.WithHint(fmt.Errorf("key file %s: %w", out, why), "name another file, or move this one away")
	case !errors.Is(why, err):
		return cli.WithHint(fmt.Errorf("key file %s: %w", out, why), "check the path, and that this user may write there")
	}
	return err
}

func keysListCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var resource api.Resource
	return vaultCommand(p, &cli.Command{
		Use:     "list [FLAG...]",
		Short:   "List keys, revoked ones too, without the keys themselves",
		Example: `  miosa-env keys list --resource sandbox:sb_1`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` those of sandbox:ID or computer:ID")
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		list, err := vault.ListKeys(ctx, resource)
		if err != nil {
			return err
		}
		return printList(p, asJSON, list, func() string {
			return "there are no such keys" + nearest.OrMeant(nearResource(ctx, vault, resource))
		}, []string{"RESOURCE", "CREATED", "EXPIRES", "REVOKED", "ID"}, func(k *api.IssuedKey) []string {
			revoked := ""
			if k.RevokedAt != nil {
				revoked = program.When(*k.RevokedAt)
			}
			return []string{k.Resource.String(), program.When(k.CreatedAt), program.Ends(k.ExpiresAt), revoked, k.ID}
		})
	})
}

func keysRevokeCommand(p *program.Program) *cli.Command {
	return vaultCommand(p, &cli.Command{
		Use:   "revoke [FLAG...] ID",
		Short: "Revoke a key at once",
		Long: `Revokes a key by its id. It is refused from now on, and requests that wait under it end at
once. It doesn't ask: where a key has leaked there is no time to lose.`,
		Example:  `  miosa-env keys revoke key_2b7nq`,
		Args:     oneArgument("the key's id"),
		Complete: cli.First(completeWords(p, keyIDs)),
		Flags:    cli.NeverAsks,
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if err := vault.RevokeKey(ctx, inv.Args[0]); err != nil {
			return cli.UnknownID(err, inv.Args[0], "miosa-env keys list",
				func() ([]api.IssuedKey, error) { return vault.ListKeys(ctx, api.Resource{}) },
				func(k *api.IssuedKey) string { return k.ID })
		}
		return printDone(p, "revoked "+inv.Args[0])
	})
}
