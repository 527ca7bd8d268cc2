package oauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// machine is a client of the client credentials grant (RFC 6749, 4.4), under "oauth" in a secret's metadata.
type machine struct {
	TokenURL string   `json:"token_url"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Auth     string   `json:"client_auth"` // basic (the default) or post
}

// machineOf reads and checks metadata. Errors: api.ErrInvalid, naming the field.
func machineOf(metadata json.RawMessage) (machine, error) {
	var all struct {
		OAuth machine `json:"oauth"`
	}
	problem := ""
	err := json.Unmarshal(metadata, &all)
	switch m := all.OAuth; {
	case err != nil:
		problem = " must be an object with token_url, client_id and scopes, a list of texts"
	case m.TokenURL == "":
		problem = ".token_url is required for type oauth_machine"
	case checkURL(m.TokenURL) != nil:
		problem = ".token_url " + checkURL(m.TokenURL).Error()
	case m.ClientID == "":
		problem = ".client_id is required for type oauth_machine"
	case m.Auth != "" && m.Auth != authBasic && m.Auth != authPost:
		problem = ".client_auth must be basic or post"
	}
	if problem != "" {
		return machine{}, api.NewError(api.ErrInvalid, "metadata.oauth"+problem)
	}
	return all.OAuth, nil
}

// TokenHost is the host of the token URL in a secret's metadata; "" if there is none.
func TokenHost(metadata json.RawMessage) string {
	m, err := machineOf(metadata)
	if err != nil {
		return ""
	}
	u, err := url.Parse(m.TokenURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// Mint gets a token for the client in a secret's metadata, with its client secret. A tenant names the token URL, so it
// must have a public address, unless the configuration lists the URL. Otherwise, a tenant can't tell why there was no
// connection: the error and the time are the same for every host.
// Errors: api.ErrInvalid for metadata without a client; *Error.
func (ps *Providers) Mint(ctx context.Context, metadata json.RawMessage, secret api.Value) (Token, error) {
	m, err := machineOf(metadata)
	if err != nil {
		return Token{}, err
	}
	if ps != nil && slices.Contains(ps.machineURLs, m.TokenURL) {
		return m.mint(ctx, client, secret)
	}
	var d publicDialer
	if ps != nil {
		d = publicDialer{publicURL: ps.PublicURL, resolver: ps.resolver}
	}
	earliest := time.Now().Add(connectTimeout)
	token, err := m.mint(ctx, d.client(), secret)
	if failed, ok := errors.AsType[*Error](err); ok && failed.Unreachable() {
		_ = delay.Sleep(ctx, time.Until(earliest)) // ctx ends: nobody waits for the answer
	}
	return token, err
}

func (m machine) mint(ctx context.Context, with *http.Client, secret api.Value) (Token, error) {
	c := clientcredentials.Config{
		ClientID: m.ClientID, ClientSecret: secret.Reveal(), TokenURL: m.TokenURL, Scopes: m.Scopes,
		AuthStyle: cmp.Or(authStyles[m.Auth], oauth2.AuthStyleInHeader),
	}
	return requestToken(ctx, with, m.Scopes, c.Token)
}
