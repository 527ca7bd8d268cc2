package oauth

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/Miosa-osa/miosa-env/api"
)

// Provider is one authorization server, and the vault as its client. It is safe for concurrent use.
type Provider struct {
	Name        string
	DisplayName string
	Scopes      []string // never nil

	clientID   string
	secretFile string // "": none
	auth       string // "": what the server prefers
	issuer     string // "": not known
	params     map[string]string
	preset     preset
	fixed      *endpoint // nil: to be discovered from issuer

	mu    sync.Mutex // guards what follows
	found *endpoint
}

// endpoint is where a server is and how it behaves.
type endpoint struct {
	authorize, token string
	auth             string // "": not said
	sendsIssuer      bool   // an answer without "iss" isn't this server's
}

// Token is what a provider gave.
type Token struct {
	Access    api.Value
	Refresh   api.Value  // empty: none
	ExpiresAt *time.Time // nil: it doesn't say
	Scopes    []string   // what was granted, where that is said; else what was asked for
}

// endpoint finds out where the provider is. A failure isn't remembered: the next one asks again.
// Errors: *Error, Unsent.
func (p *Provider) endpoint(ctx context.Context) (*endpoint, error) {
	if p.fixed != nil {
		return p.fixed, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	e, err := discover(ctx, p.issuer)
	if err != nil {
		return nil, &Error{Outcome: Unsent, Code: "discovery_failed", cause: err}
	}
	p.found = e
	return e, nil
}

// discover asks an OpenID issuer for its configuration. What it names must be https too, or loopback.
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
	urls := at.Endpoint()
	e := &endpoint{authorize: urls.AuthURL, token: urls.TokenURL, sendsIssuer: more.SendsIssuer}
	for _, u := range []string{e.authorize, e.token} {
		if _, err := endpointURL(u); err != nil {
			return nil, err
		}
	}
	if len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") && slices.Contains(more.Methods, "client_secret_post") {
		e.auth = authPost
	}
	return e, nil
}

// config is x/oauth2's view of us. The way credentials are shown is always set: left open, it would try
// one way and then the other, and a code works once only.
func (p *Provider) config(e *endpoint, redirectURI string) (*oauth2.Config, error) {
	secret, err := p.secret()
	if err != nil {
		return nil, &Error{Outcome: Unsent, Code: "client_secret_unreadable", cause: err}
	}
	style := oauth2.AuthStyleInHeader
	if way := cmp.Or(p.auth, e.auth, authBasic); way != authBasic {
		style = oauth2.AuthStyleInParams
	}
	scopes := p.Scopes
	if s := p.preset.separator; s != "" && len(scopes) > 0 {
		scopes = []string{strings.Join(scopes, s)}
	}
	return &oauth2.Config{
		ClientID: p.clientID, ClientSecret: secret, RedirectURL: redirectURI, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: e.authorize, TokenURL: e.token, AuthStyle: style},
	}, nil
}

// AuthorizeURL is where the user's browser is sent. verifier is the PKCE one (RFC 7636), which only its hash
// of leaves the vault now. Errors: *Error.
func (p *Provider) AuthorizeURL(ctx context.Context, state, verifier, redirectURI string) (string, error) {
	e, err := p.endpoint(ctx)
	if err != nil {
		return "", err
	}
	c, err := p.config(e, redirectURI)
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

// CheckIssuer looks at the "iss" of an answer that came by the user's browser (RFC 9207), so that a code of one
// server isn't carried to another. An answer that should have one and hasn't, that has one where none is known,
// or another than the configured one, is refused. Errors: *Error, Refused, with code wrong_issuer.
func (p *Provider) CheckIssuer(ctx context.Context, query url.Values) error {
	given, present := query["iss"]
	e, err := p.endpoint(ctx)
	if err != nil {
		return err
	}
	if !present && !e.sendsIssuer || present && len(given) == 1 && p.issuer != "" && given[0] == p.issuer {
		return nil
	}
	return &Error{Outcome: Refused, Code: CodeWrongIssuer}
}

// Exchange turns a code into a token. Errors: *Error.
func (p *Provider) Exchange(ctx context.Context, code, verifier, redirectURI string) (Token, error) {
	return p.ask(ctx, redirectURI, func(ctx context.Context, c *oauth2.Config) (*oauth2.Token, error) {
		return c.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	})
}

// Refresh turns a refresh token into a new token. Where the provider gives no new refresh token, Token.Refresh
// is the old one. Errors: *Error.
func (p *Provider) Refresh(ctx context.Context, refresh api.Value) (Token, error) {
	return p.ask(ctx, "", func(ctx context.Context, c *oauth2.Config) (*oauth2.Token, error) {
		return c.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	})
}

func (p *Provider) ask(ctx context.Context, redirectURI string, request func(context.Context, *oauth2.Config) (*oauth2.Token, error)) (Token, error) {
	e, err := p.endpoint(ctx)
	if err != nil {
		return Token{}, err
	}
	c, err := p.config(e, redirectURI)
	if err != nil {
		return Token{}, err
	}
	return asking(ctx, shaped(client, p.preset.shape), p.Scopes, func(ctx context.Context) (*oauth2.Token, error) {
		return request(ctx, c)
	})
}
