package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// devVault is a running miosa-vault dev.
type devVault struct {
	*program
	url     string            // without the API's path
	exports map[string]string // variables that it printed
}

// startVault starts a vault in which one sandbox has so many bindings, named by variable.
func (c config) startVault(ctx context.Context, dir string, bindings int) (*devVault, error) {
	seed := filepath.Join(dir, "seed.env")
	var lines strings.Builder
	for i := range bindings {
		fmt.Fprintf(&lines, "%s=a-value-of-forty-characters-as-keys-%05d\n", variable(i), i)
	}
	if err := os.WriteFile(seed, []byte(lines.String()), 0o600); err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // it prints nothing more
	v := &devVault{}
	v.program, err = startProgram(ctx, os.Environ(), in, c.program("miosa-vault"), "dev", "--resource", "sandbox:sb_bench", "--seed", seed)
	_ = in.Close()
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(startLimit, func() { _ = v.cmd.Process.Kill() })
	v.exports, err = readExports(out)
	if !late.Stop() || err != nil {
		return nil, fmt.Errorf("miosa-vault dev: %w", errors.Join(err, v.stop()))
	}
	v.url = strings.TrimSuffix(v.exports["MIOSA_BASE_URL"], "/api/v1")
	return v, nil
}

// variable returns the name of a binding.
func variable(i int) string { return fmt.Sprintf("BOUND_VARIABLE_%03d", i) }

// tenant returns a client with the tenant key, and the id of the secret that is bound as name.
func (v *devVault) tenant(ctx context.Context, name string) (c *fetch.Client, secret string, err error) {
	key, err := api.ParseKey(v.exports["MIOSA_TENANT_KEY"])
	if err != nil {
		return nil, "", fmt.Errorf("tenant key of miosa-vault dev: %w", err)
	}
	if c, err = fetch.New(fetch.Config{BaseURL: v.exports["MIOSA_BASE_URL"], Key: key}); err != nil {
		return nil, "", err
	}
	bindings, err := c.Bindings(ctx, fetch.BindingFilter{})
	for _, b := range bindings {
		if b.ExposeAsEnv == name {
			return c, b.SecretID, nil
		}
	}
	c.Close()
	return nil, "", errors.Join(err, errors.New("nothing is bound as "+name))
}

// readExports parses the lines "export NAME=value" up to "# ready".
func readExports(r io.Reader) (map[string]string, error) {
	exports := map[string]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if lines.Text() == "# ready" {
			for _, name := range []string{"MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"} {
				if exports[name] == "" {
					return nil, fmt.Errorf("no %s printed", name)
				}
			}
			return exports, nil
		}
		if line, ok := strings.CutPrefix(lines.Text(), "export "); ok {
			name, value, _ := strings.Cut(line, "=")
			exports[name] = strings.Trim(value, `'"`)
		}
	}
	return nil, errors.New("ended before it was ready")
}
