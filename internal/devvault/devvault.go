// Package devvault runs `miosa-vault dev`, and programs that use it, for the demo and the benchmarks.
package devvault

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// StartTimeout is how long a program may take to be ready.
const StartTimeout = 30 * time.Second

// Sandbox is the resource of which the vault has a key.
var Sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// Vault is a running miosa-vault dev.
type Vault struct {
	*Program
	exports map[string]string // variables that it printed
}

// Start starts the miosa-vault at path, with more arguments of dev, and waits until it is ready. stderr is as in Run.
func Start(ctx context.Context, stderr io.Writer, path string, args ...string) (*Vault, error) {
	p, err := Run(ctx, nil, stderr, path, append([]string{"dev", "--resource", Sandbox.String()}, args...)...)
	if err != nil {
		return nil, err
	}
	v := &Vault{p, map[string]string{}}
	if err := v.readExports(ctx); err != nil {
		_ = p.Stop(0) // err contains its end
		return nil, err
	}
	return v, nil
}

// readExports reads the lines "export NAME=value" up to "# ready".
func (v *Vault) readExports(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, StartTimeout, fmt.Errorf("%s isn't ready after %s", v.name, StartTimeout))
	defer cancel()
	for {
		line, err := v.Line(ctx)
		if err != nil {
			return err
		}
		if line == "# ready" {
			break
		}
		if assignment, ok := strings.CutPrefix(line, "export "); ok {
			name, value, _ := strings.Cut(assignment, "=")
			v.exports[name] = strings.Trim(value, `'"`)
		}
	}
	for _, name := range []string{"MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID", "MIOSA_TENANT_KEY"} {
		if v.exports[name] == "" {
			return fmt.Errorf("%s printed no %s", v.name, name)
		}
	}
	return nil
}

// URL returns the vault's URL without the path of the API.
func (v *Vault) URL() string { return strings.TrimSuffix(v.exports["MIOSA_BASE_URL"], "/api/v1") }

// Environ returns the environment of a program in the sandbox: PATH and the named variables that the vault printed.
func (v *Vault) Environ(names ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range names {
		env = append(env, name+"="+v.exports[name])
	}
	return env
}

// Tenant returns a client with the tenant key.
func (v *Vault) Tenant() (*fetch.Client, error) {
	key, err := api.ParseKey(v.exports["MIOSA_TENANT_KEY"])
	if err != nil {
		return nil, fmt.Errorf("tenant key of miosa-vault dev: %w", err)
	}
	return fetch.New(fetch.Config{BaseURL: v.exports["MIOSA_BASE_URL"], Key: key})
}
