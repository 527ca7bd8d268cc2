package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/devvault"
)

// startVault starts a vault in which one sandbox has so many bindings, named by variable.
func (c config) startVault(ctx context.Context, dir string, bindings int) (*devvault.Vault, error) {
	seed := filepath.Join(dir, "seed.env")
	var lines strings.Builder
	for i := range bindings {
		fmt.Fprintf(&lines, "%s=a-value-of-forty-characters-as-keys-%05d\n", variable(i), i)
	}
	if err := os.WriteFile(seed, []byte(lines.String()), 0o600); err != nil {
		return nil, err
	}
	return devvault.Start(ctx, nil, c.program("miosa-vault"), "--seed", seed)
}

// variable returns the name of a binding.
func variable(i int) string { return fmt.Sprintf("BOUND_VARIABLE_%03d", i) }

// secretOf returns the id of the secret that is bound as name.
func secretOf(ctx context.Context, tenant *fetch.Client, name string) (string, error) {
	bindings, err := tenant.Bindings(ctx, fetch.BindingFilter{})
	for _, b := range bindings {
		if b.ExposeAsEnv == name {
			return b.SecretID, nil
		}
	}
	return "", errors.Join(err, errors.New("nothing is bound as "+name))
}
