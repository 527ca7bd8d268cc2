package oauth

import (
	"context"
	"slices"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/Miosa-osa/miosa-env/api"
)

// Machine is a client of the client credentials grant (RFC 6749, 4.4), in a secret's metadata.
type Machine struct {
	TokenURL string   `json:"token_url"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Auth     string   `json:"client_auth"` // basic (the default) or post
}

// validate names the invalid field as in a secret's metadata. Errors: api.ErrInvalid.
func (m Machine) validate() error {
	invalid := func(text string) error { return api.NewError(api.ErrInvalid, text) }
	if m.TokenURL == "" {
		return invalid("metadata.oauth.token_url is required for type oauth_machine")
	}
	if err := checkURL(m.TokenURL); err != nil {
		return invalid("metadata.oauth.token_url " + err.Error())
	}
	if m.ClientID == "" {
		return invalid("metadata.oauth.client_id is required for type oauth_machine")
	}
	if m.Auth != "" && m.Auth != authBasic && m.Auth != authPost {
		return invalid("metadata.oauth.client_auth must be basic or post")
	}
	return nil
}

// Mint gets a token for a machine, with the client's secret. A tenant names the token URL, so it must have a public
// address, unless the configuration lists the URL.
// Errors: *Error.
func (ps *Providers) Mint(ctx context.Context, m Machine, secret api.Value) (Token, error) {
	httpClient := publicClient
	if ps != nil && slices.Contains(ps.machineURLs, m.TokenURL) {
		httpClient = client
	}
	c := clientcredentials.Config{
		ClientID: m.ClientID, ClientSecret: secret.Reveal(), TokenURL: m.TokenURL, Scopes: m.Scopes,
		AuthStyle: oauth2.AuthStyleInHeader,
	}
	if m.Auth == authPost {
		c.AuthStyle = oauth2.AuthStyleInParams
	}
	return requestToken(ctx, httpClient, m.Scopes, c.Token)
}
