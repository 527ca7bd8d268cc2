// Package oauth requests OAuth 2.0 tokens: it has the providers and their endpoints, the links for users, and the token
// requests with a code, a refresh token or a client's own credentials. It stores nothing.
//
// Providers are configured in a TOML file (docs/vault.md, "OAuth providers"). A client's secret is never in that
// file. It is in a file of its own or a systemd credential, and read for each request, so that it can be replaced.
package oauth

import (
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
)

// Providers are the providers of one configuration. A nil *Providers has none.
type Providers struct {
	// PublicURL is the vault's URL for browsers, without a trailing slash; "": not set.
	PublicURL string

	redirectURIs []string
	machineURLs  []string // token URLs of client credentials that need not be public
	list         []*Provider
	byName       map[string]*Provider
}

// List describes the providers, in the order of the file.
func (ps *Providers) List() []api.Provider {
	list := []api.Provider{}
	if ps == nil {
		return list
	}
	for _, p := range ps.list {
		list = append(list, api.Provider{Name: p.Name, DisplayName: p.DisplayName, Scopes: p.Scopes})
	}
	return list
}

// Named returns nil if there is no provider of that name.
func (ps *Providers) Named(name string) *Provider {
	if ps == nil {
		return nil
	}
	return ps.byName[name]
}

// Allows reports whether a flow may end at a redirect URI: the callback, or one of the configured URIs, compared byte for
// byte.
func (ps *Providers) Allows(uri, callback string) bool {
	return uri == callback || ps != nil && slices.Contains(ps.redirectURIs, uri)
}
