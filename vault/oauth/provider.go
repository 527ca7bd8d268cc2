// Package oauth requests OAuth 2.0 tokens: it has the providers and their endpoints, the links for users, and the token
// requests with a code, a refresh token or a client's own credentials. It stores nothing.
//
// Providers are configured in a TOML file (docs/vault.md, "OAuth providers"). A client's secret is never in that
// file. It is in a file of its own or a systemd credential, and read for each request, so that it can be replaced.
package oauth

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/service"
)

// Provider is an authorization server, and the vault's registration there. It is safe for concurrent use.
type Provider struct {
	Name        string
	DisplayName string
	Scopes      []string // never nil

	clientID   string
	secretFile string // "": none
	auth       string // "": as the server prefers
	issuer     string // "": not known
	params     map[string]string
	preset     preset
	service    string    // see providerFile.service
	fixed      *endpoint // nil: discovered from issuer

	discovery  singleflight.Group
	discovered atomic.Pointer[endpoint]
}

// Egress is where a broker may send the provider's tokens; nil: nothing is known. Placeholders have the usual form: those of keys
// that users create at the service are others.
func (p *Provider) Egress() *api.EgressRule {
	r, ok := service.Rule(p.service)
	if !ok {
		return nil
	}
	r.Shape = nil
	return &r
}

// endpoint has the URLs of a server and its metadata.
type endpoint struct {
	oauth2.Endpoint      // AuthStyle 0: not known
	sendsIssuer     bool // an answer without "iss" isn't this server's
}

// Token is a provider's response.
type Token struct {
	Access    api.Value
	Refresh   api.Value  // empty: none
	ExpiresAt *time.Time // nil: not known
	Scopes    []string   // the granted ones, or the requested ones if the response has none
}

// endpoint returns the provider's endpoint. Concurrent calls share one discovery. A failure isn't cached.
// Errors: *Error, Unsent.
func (p *Provider) endpoint(ctx context.Context) (*endpoint, error) {
	if p.fixed != nil {
		return p.fixed, nil
	}
	if e := p.discovered.Load(); e != nil {
		return e, nil
	}
	result := p.discovery.DoChan("", func() (any, error) {
		e, err := discover(context.WithoutCancel(ctx), p.issuer) // for other callers too
		if err == nil {
			p.discovered.Store(e)
		}
		return e, err
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, &Error{Outcome: Unsent, Code: codeUndiscovered, cause: r.Err}
		}
		return r.Val.(*endpoint), nil
	case <-ctx.Done():
		return nil, &Error{Outcome: Unsent, Code: codeUndiscovered, cause: ctx.Err()}
	}
}

// Discover gets the provider's endpoint if it isn't known yet. Errors: *Error, Unsent.
func (p *Provider) Discover(ctx context.Context) error {
	_, err := p.endpoint(ctx)
	return err
}

// Discovered reports whether the provider's endpoint is known, so that its URLs need no request.
func (p *Provider) Discovered() bool { return p.fixed != nil || p.discovered.Load() != nil }

// discover gets the OpenID configuration of an issuer. Its URLs must be https too, or loopback.
func discover(ctx context.Context, issuer string) (*endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	at, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Methods     []string `json:"token_endpoint_auth_methods_supported"`
		SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := at.Claims(&more); err != nil {
		return nil, err
	}
	e := &endpoint{Endpoint: at.Endpoint(), sendsIssuer: more.SendsIssuer}
	if err := cmp.Or(checkURL(e.AuthURL), checkURL(e.TokenURL)); err != nil {
		return nil, err
	}
	if len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") && slices.Contains(more.Methods, "client_secret_post") {
		e.AuthStyle = oauth2.AuthStyleInParams
	}
	return e, nil
}

// config is the configuration for x/oauth2. AuthStyle is always set: otherwise x/oauth2 would try
// one style after the other, and a code works only once.
// Errors: *Error.
func (p *Provider) config(ctx context.Context, redirectURI string, scopes []string) (*oauth2.Config, error) {
	e, err := p.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	secret, err := p.secret()
	if err != nil {
		return nil, &Error{Outcome: Unsent, Code: "client_secret_unreadable", cause: err}
	}
	at := e.Endpoint
	at.AuthStyle = cmp.Or(authStyles[p.auth], at.AuthStyle, oauth2.AuthStyleInHeader)
	if s := p.preset.separator; s != "" && len(scopes) > 0 {
		scopes = []string{strings.Join(scopes, s)}
	}
	return &oauth2.Config{ClientID: p.clientID, ClientSecret: secret, RedirectURL: redirectURI, Scopes: scopes, Endpoint: at}, nil
}

// Requested returns the scopes that a flow requests: the given ones, or without any those of the configuration.
func (p *Provider) Requested(scopes []string) []string {
	if len(scopes) > 0 {
		return scopes
	}
	return p.Scopes
}

// AuthorizeURL is the URL for the user's browser. It contains a hash of the PKCE verifier (RFC 7636). scopes are as in
// Requested. Errors: *Error.
func (p *Provider) AuthorizeURL(ctx context.Context, state, verifier, redirectURI string, scopes ...string) (string, error) {
	c, err := p.config(ctx, redirectURI, p.Requested(scopes))
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	for _, params := range []map[string]string{p.preset.params, p.params} {
		for name, value := range params {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	return c.AuthCodeURL(state, options...), nil
}

// CheckIssuer checks the "iss" of an answer (RFC 9207), so that a server's code isn't sent to another server. It must be
// the configured one, and present if the server sends it. Errors: *Error, Refused, with codeWrongIssuer.
func (p *Provider) CheckIssuer(ctx context.Context, query url.Values) error {
	given, present := query["iss"]
	e, err := p.endpoint(ctx)
	if err != nil {
		return err
	}
	if !present && !e.sendsIssuer || present && len(given) == 1 && p.issuer != "" && given[0] == p.issuer {
		return nil
	}
	return &Error{Outcome: Refused, Code: codeWrongIssuer}
}

// Exchange requests a token with a code. scopes are those of AuthorizeURL. Errors: *Error.
func (p *Provider) Exchange(ctx context.Context, code, verifier, redirectURI string, scopes ...string) (Token, error) {
	return p.requestToken(ctx, redirectURI, p.Requested(scopes), func(ctx context.Context, c *oauth2.Config) (*oauth2.Token, error) {
		return c.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	})
}

// Refresh requests a token with a refresh token. Without a new refresh token in the response, Token.Refresh is the old
// one. Errors: *Error.
func (p *Provider) Refresh(ctx context.Context, refresh api.Value) (Token, error) {
	return p.requestToken(ctx, "", p.Scopes, func(ctx context.Context, c *oauth2.Config) (*oauth2.Token, error) {
		return c.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	})
}

func (p *Provider) requestToken(ctx context.Context, redirectURI string, scopes []string, request func(context.Context, *oauth2.Config) (*oauth2.Token, error)) (Token, error) {
	c, err := p.config(ctx, redirectURI, scopes)
	if err != nil {
		return Token{}, err
	}
	return requestToken(ctx, p.preset.dialect.client(client), scopes, func(ctx context.Context) (*oauth2.Token, error) {
		return request(ctx, c)
	})
}

// Providers are the providers of one configuration. A nil *Providers has none.
type Providers struct {
	// PublicURL is the vault's URL for browsers, without a trailing slash; "": not set.
	PublicURL string

	redirectURIs []string
	anyBrowser   bool
	machineURLs  []string // token URLs of client credentials that need not be public
	list         []*Provider
	resolver     *net.Resolver // of token URLs' hosts; nil: the system's
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
	for _, p := range ps.list {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Names are the providers' names.
func (ps *Providers) Names() (names []string) {
	if ps == nil {
		return nil
	}
	for _, p := range ps.list {
		names = append(names, p.Name)
	}
	return names
}

// AnyBrowser reports whether a flow may end in another browser than the one in which its user has continued from the
// vault's page.
func (ps *Providers) AnyBrowser() bool { return ps != nil && ps.anyBrowser }

// Allows reports whether a flow may end at a redirect URI: the callback, or one of the configured URIs, compared byte for
// byte.
func (ps *Providers) Allows(uri, callback string) bool {
	return uri == callback || ps != nil && slices.Contains(ps.redirectURIs, uri)
}
