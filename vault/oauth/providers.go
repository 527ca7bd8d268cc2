package oauth

import (
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
)

// Providers are those of one configuration. A nil *Providers is one without any.
type Providers struct {
	// PublicURL is where browsers reach the vault, without a slash at its end; "": not said.
	PublicURL string

	redirectURIs []string
	machineURLs  []string // token URLs of client credentials that may be anywhere
	list         []*Provider
	byName       map[string]*Provider
}

// List is what the contract tells of them, in the order of the file.
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

// Named is the provider of that name; nil when there is none.
func (ps *Providers) Named(name string) *Provider {
	if ps == nil {
		return nil
	}
	return ps.byName[name]
}

// Allows tells whether a flow may end at that redirect URI: it is the callback itself, or on the list, byte for byte.
func (ps *Providers) Allows(uri, callback string) bool {
	return uri == callback || ps != nil && slices.Contains(ps.redirectURIs, uri)
}
