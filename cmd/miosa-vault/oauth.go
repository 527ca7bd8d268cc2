package main

import (
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

const oauthUsage = "`FILE` TOML with the OAuth providers that accounts can be connected at"

// providers reads a file of OAuth providers. "" is none.
func (p *program) providers(file string) (*oauth.Providers, error) {
	if file == "" {
		return nil, nil
	}
	providers, err := oauth.Load(file, p.getenv)
	if err != nil {
		return nil, cli.WithHint(err, "docs/vault.md, \"OAuth providers\", says what belongs there")
	}
	return providers, nil
}
