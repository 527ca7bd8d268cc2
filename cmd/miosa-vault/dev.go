package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// devTenant is the one tenant of a development vault.
const devTenant = "dev"

// development is the command dev.
type development struct {
	*program
	logs     logFlags
	addr     string
	resource string
	seed     string
	oauth    string
}

func (p *program) dev() *cli.Command {
	d := &development{program: p}
	return &cli.Command{
		Use:   "dev [--resource sandbox:ID] [--seed FILE]",
		Short: "Serve a temporary vault on loopback",
		Long: `Serve an empty vault on loopback. Its data is in memory if the system has a directory in memory, and
is deleted when the vault stops.

On standard output it prints lines "export NAME=value" that a shell can read: MIOSA_BASE_URL,
MIOSA_TENANT_KEY and, with --resource, MIOSA_API_KEY and MIOSA_SANDBOX_ID or MIOSA_COMPUTER_ID. They
are followed by comments: the address of its page, and "# ready".`,
		Flags: func(f *pflag.FlagSet) {
			d.logs.add(f, "warn")
			f.StringVar(&d.addr, "addr", "127.0.0.1:0", "`HOST:PORT` the loopback address to listen on; port 0 takes any free one")
			f.StringVar(&d.resource, "resource", "", "`RESOURCE` also create a key for sandbox:ID or computer:ID")
			f.StringVar(&d.seed, "seed", "", "`FILE` .env or JSON file whose variables are stored and bound to the resource (needs --resource)")
			f.StringVar(&d.oauth, "oauth-file", "", oauthUsage)
		},
		Run: d.run,
	}
}

func (d *development) run(ctx context.Context, _ *cli.Invocation) (err error) {
	log, flush, err := d.logs.open(d.stderr)
	if err != nil {
		return err
	}
	defer flush()
	resource, err := d.check()
	if err != nil {
		return err
	}
	var seeds []dotenv.Variable
	if d.seed != "" {
		if seeds, err = dotenv.Read(d.seed); err != nil {
			return err
		}
	}
	providers, err := d.providers(d.oauth)
	if err != nil {
		return err
	}
	inherited.OutliveReaders()
	// HUP for a closed terminal, and QUIT for Ctrl-\: the directory must be removed.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	defer func() {
		err = unlessStopped(ctx, err)
		stop()
	}()
	dir, err := memoryDir(d.getenv("XDG_RUNTIME_DIR"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := keyring.NewRoot()
	if err != nil {
		return err
	}
	v, err := vault.Open(ctx, vault.Config{
		Store: store.Config{DataDir: dir, RootKey: keyring.Root{Text: root}, Log: log},
		OAuth: providers,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	settings, err := d.fill(ctx, v.Store(), resource, seeds)
	if err != nil {
		return err
	}
	return listenAndServe(ctx, v, d.addr, func(l net.Listener) error {
		text := fmt.Sprintf("export MIOSA_BASE_URL=http://%[1]s/api/v1\n%[2]s# page: http://%[1]s/ (sign in with MIOSA_TENANT_KEY)\n# ready\n", l.Addr(), settings)
		_, err := fmt.Fprint(d.stdout, text)
		return err
	})
}

func (d *development) check() (*api.Resource, error) {
	addr, err := net.ResolveTCPAddr("tcp", d.addr)
	if err != nil || !addr.IP.IsLoopback() {
		return nil, usage("--addr must be host:port on loopback", "a vault for others is miosa-vault serve")
	}
	if d.resource == "" && d.seed != "" {
		return nil, usage("--seed needs --resource", "say what to bind the lines to, as in --resource sandbox:sb_1")
	}
	return parseResource(d.resource)
}

// parseResource parses the value of --resource; nil: it isn't given.
func parseResource(s string) (*api.Resource, error) {
	if s == "" {
		return nil, nil
	}
	r, err := cli.ParseResource(s)
	if err != nil {
		return nil, usage("--resource "+strconv.Quote(s)+": "+err.Error(), cmp.Or(cli.Hint(err), "give it as in --resource sandbox:sb_1"))
	}
	return &r, nil
}

// fill creates the tenant, its keys and the seeded secrets. It returns the lines to print.
func (d *development) fill(ctx context.Context, store *store.Store, r *api.Resource, seeds []dotenv.Variable) (string, error) {
	tenant, err := store.CreateTenantKey(ctx, devTenant)
	if err != nil {
		return "", err
	}
	lines := "export MIOSA_TENANT_KEY=" + tenant.Key.Reveal() + "\n"
	if r == nil {
		return lines, nil
	}
	operator, err := store.LocalActor(ctx, devTenant)
	if err != nil {
		return "", err
	}
	for _, v := range seeds {
		secret := api.NewSecret{Name: v.Name, Type: "env_var", Value: v.Value, Resource: *r, ExposeAsEnv: v.Name}
		if _, _, _, err := store.PutSecret(ctx, operator, secret, nil); err != nil {
			return "", fmt.Errorf("seed %s, %s: %w", d.seed, v.Name, err)
		}
	}
	key, err := store.CreateResourceKey(ctx, operator, *r, nil)
	if err != nil {
		return "", err
	}
	name := map[string]string{api.Sandbox: "MIOSA_SANDBOX_ID", api.Computer: "MIOSA_COMPUTER_ID"}[r.Type]
	return lines + "export MIOSA_API_KEY=" + key.Key + "\nexport " + name + "=" + r.ID + "\n", nil
}

// memoryDir creates a directory, 0700, in memory if possible, else in the directory for temporary files. (The data is
// encrypted with a key that is never on disk.)
func memoryDir(runtimeDir string) (string, error) {
	var err error
	for _, parent := range []string{runtimeDir, "/dev/shm", os.TempDir()} {
		if parent == "" {
			continue
		}
		var dir string
		if dir, err = os.MkdirTemp(parent, "miosa-vault-dev-*"); err == nil {
			return dir, nil
		}
	}
	return "", err
}
