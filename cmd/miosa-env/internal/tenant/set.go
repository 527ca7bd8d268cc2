package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// maxMetadata is more than the vault accepts, in bytes.
const maxMetadata = 64<<10 + 1

// stored is the result of set, as --json prints it.
type stored struct {
	Secret   api.Secret    `json:"secret"` // its ID is empty if it isn't stored
	Bindings []api.Binding `json:"bindings"`
}

func setCommand(p *program.Program) *cli.Command {
	var (
		from     valueFlags
		bind     []target
		of       owners
		resource api.Resource
		expires  cli.Moment
		metadata string
		asJSON   bool
		set      secrets.Set
		egress   egressFlags
	)
	var delivery string
	return vaultCommand(p, &cli.Command{
		Use:   "set [FLAG...] NAME",
		Short: "Store a secret or its next value, and bind it",
		Long: `Stores a secret. If a secret with the same name, scope, attribution and resource exists, it gets a new
version, which reaches every sandbox and computer it is bound to.

` + valueHelp + `

--bind binds the secret to a variable on a resource; it is repeatable, because one secret can be bound
in many places. --resource makes the secret belong to one resource, which may then have a secret of
its own with the same name as others. Each binding is a separate call after the secret is stored,
except a single --bind to the secret's own --resource: both are then stored together or not at all.

With --delivery placeholder, sandboxes get a placeholder, and a broker replaces it with the value in
their requests, where the secret's egress rule allows it. --for sets the rule of a well-known API;
--egress-host and the other --egress flags set any rule. A secret that is set again keeps its rule.`,
		Example: `  miosa-env secrets set github --bind sandbox:sb_1=GH_TOKEN
  pass show github | miosa-env secrets set github
  miosa-env secrets set openai --for openai --bind sandbox:sb_1=OPENAI_API_KEY --delivery placeholder
  miosa-env secrets set session-key --generate
  miosa-env secrets set tls-key --value-file key.pem --keep-newline --expires 720h`,
		Args: func(args []string) error {
			if err := oneSecret("the name of the secret")(args); err != nil {
				return err
			}
			if _, value, ok := strings.Cut(args[0], "="); ok {
				return RefusedValue(value)
			}
			return nil
		},
		Complete: cli.First(completeWords(p, secretNames)),
		Flags: func(f *pflag.FlagSet) {
			f.Var(targetsValue(&bind), "bind", "`RESOURCE=NAME` bind it to this variable, such as sandbox:sb_1=GH_TOKEN; repeatable")
			from.addFlags(f)
			f.Var(setting.Text(&set.Type).Suggest(secretTypes...), "type", "`TYPE` such as api_key (the default), env_var, bearer, basic or generic")
			of.addFlags(f, true)
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` the resource that it belongs to: sandbox:ID or computer:ID")
			f.Var(&expires, "expires", "`WHEN` it expires and is no longer delivered: 720h, 30d, or 2030-01-02T15:04:05Z")
			f.StringVar(&metadata, "metadata", "", "`FILE` contains a JSON object to store with it, which everybody who lists it can see")
			f.Var(setting.Choice(&delivery, []string{api.DeliverValue, api.DeliverPlaceholder}), "delivery", "`WORD` value (the default), or placeholder: the variable contains a placeholder that a broker replaces")
			egress.addFlags(f, true)
			addJSONFlag(f, &asJSON, "a JSON object: secret, and its new bindings")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if delivery != "" && len(bind) == 0 {
			return cli.Usage(errors.New("--delivery is about bindings, and there is none"), "add --bind, or leave it out")
		}
		set.Name, set.Resource, set.ExpiresAt = inv.Args[0], resource, expires.At
		set.Scope, set.WorkspaceID, set.OwnerUserID = of.scope, of.workspace, of.owner
		set.ExternalUserID, set.ExternalWorkspaceID = of.externalUser, of.externalWorkspace
		var err error
		if set.Egress, err = egress.rule(); err != nil {
			return err
		}
		if set.Metadata, err = readMetadata(metadata); err != nil {
			return err
		}
		if set.Value, err = readValue(p, from, cli.Quote(set.Name)); err != nil {
			return err
		}
		defer set.Value.Wipe()
		warnOfNames(p, bind...)
		done, err := store(ctx, vault, &set, bind, delivery)
		if done.Secret.ID != "" {
			warnOfNoRule(p, &done.Secret, delivery)
			warnOfValue(p, &done.Secret, nil, delivery, done.Bindings...)
		}
		if set.Egress != nil && done.Secret.Version > 1 { // it may be bound already
			warnOfBoundValues(ctx, p, vault, &done.Secret, func(b *api.Binding) bool { return !slices.Contains(bind, targetOf(b)) })
		}
		switch {
		case done.Secret.ID == "":
			return err
		case asJSON:
			return errors.Join(printJSON(p, done), err)
		}
		how := "stored "
		if done.Secret.Version > 1 {
			how = "replaced "
		}
		err = errors.Join(printDone(p, how+nameAndVersion(&done.Secret)), err)
		for i := range done.Bindings {
			b := &done.Bindings[i]
			err = errors.Join(printDone(p, "bound as "+targetOf(b).String()+" ("+b.ID+")"), err)
		}
		return err
	})
}

// store stores a secret and binds it. Its result says what was done before an error.
func store(ctx context.Context, vault *secrets.Client, set *secrets.Set, bind []target, delivery string) (*stored, error) {
	if len(bind) == 1 && bind[0].Resource == set.Resource {
		set.ExposeAsEnv, set.Delivery = bind[0].variable, delivery
		bind = nil
	}
	done := &stored{Bindings: []api.Binding{}}
	secret, binding, err := vault.Set(ctx, *set)
	if err != nil && !errors.Is(err, secrets.ErrNotBound) {
		return done, err
	}
	done.Secret = secret
	if binding != nil {
		done.Bindings = append(done.Bindings, *binding)
	}
	problems := []error{err, checkRuleStored(set.Egress, &secret)}
	for _, to := range bind {
		b, err := vault.CreateBinding(ctx, secrets.NewBinding{
			SecretID: secret.ID, Resource: to.Resource, ExposeAsEnv: to.variable, Delivery: delivery,
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("not bound as %s: %w", to, err))
			continue
		}
		done.Bindings = append(done.Bindings, b)
	}
	return done, errors.Join(problems...)
}

// nameAndVersion identifies a secret and its value, if the vault returns the version.
func nameAndVersion(s *api.Secret) string {
	if s.Version <= 0 {
		return nameAndID(s)
	}
	return nameAndID(s) + ", version " + program.VersionOf(s.Version)
}

// readMetadata reads a JSON object; nil if path is empty.
func readMetadata(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, cli.FileError("metadata file", path, err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxMetadata))
	if err != nil {
		return nil, cli.FileError("metadata file", path, err)
	}
	var object map[string]any
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &object); err != nil || object == nil {
		return nil, cli.WithHint(fmt.Errorf("metadata file %s: not a JSON object", path), `it looks like {"team": "payments"}, and has at most 64 KiB`)
	}
	return object, nil
}

func rotateCommand(p *program.Program) *cli.Command {
	var from valueFlags
	var asJSON bool
	expires := cli.Moment{OrNever: true}
	return vaultCommand(p, &cli.Command{
		Use:   "rotate [FLAG...] SECRET",
		Short: "Store a new value for a secret",
		Long: `Stores a new value for an existing secret: every sandbox and computer it is bound to gets it at once.

` + valueHelp + `

An expiry time in the future is kept, and one in the past removed, unless --expires sets another.`,
		Example: `  miosa-env secrets rotate github
  miosa-env secrets rotate session-key --generate`,
		Args:     oneSecret("the secret's id or name"),
		Complete: cli.First(completeWords(p, secretIDs)),
		Flags: func(f *pflag.FlagSet) {
			from.addFlags(f)
			f.Var(&expires, "expires", "`WHEN` it expires and is no longer delivered: 720h, 30d, 2030-01-02T15:04:05Z, or never")
			addJSONFlag(f, &asJSON, "a JSON object")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		s, err := findSecret(ctx, vault, inv.Args[0]) // before a value is typed
		if err != nil {
			return err
		}
		value, err := readValue(p, from, cli.Quote(s.Name))
		if err != nil {
			return err
		}
		defer value.Wipe()
		rotated, err := vault.Rotate(ctx, s.ID, secrets.Rotation{Value: value, ExpiresAt: expires.At, NeverExpires: expires.Never})
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(p, &rotated)
		}
		return printDone(p, "rotated "+nameAndVersion(&rotated))
	})
}
