package vault

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/page"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

func (v *Vault) listProviders(c *call, _ none) (reply, error) {
	if err := v.store.CheckKey(c.ctx(), c.actor); err != nil {
		return reply{}, err
	}
	return listOf("providers", v.conf.OAuth.List(), ""), nil
}

// startOAuth starts a flow, and answers with the link that the user is to open.
func (v *Vault) startOAuth(c *call, in api.OAuthRequest) (reply, error) {
	if err := v.store.CheckKey(c.ctx(), c.actor); err != nil { // before a provider is asked for its endpoint
		return reply{}, err
	}
	if in.Provider == "" {
		return reply{}, api.NewError(api.ErrInvalid, "provider is required")
	}
	p := v.conf.OAuth.Named(in.Provider)
	if p == nil {
		return reply{}, api.NewError(api.ErrInvalid, "provider: there is none of this name; GET /egress/oauth/providers lists them")
	}
	redirect, err := v.redirectURI(in.RedirectURI)
	if err != nil {
		return reply{}, err
	}
	want := store.Wanted{OAuthSecret: in.OAuthSecret}
	if want.Scope != "" && !slices.Contains(api.Scopes(), want.Scope) { // then these are OAuth scopes, as some clients send
		if want.Scopes, err = oauth.ParseScopes(want.Scope); err != nil {
			return reply{}, err
		}
		want.Scope = ""
	}
	n := store.ConnectedSecret(want.OAuthSecret, p.Name)
	n.Value = api.NewValue(nil) // the token is checked when there is one
	if err := store.Complete(&n); err != nil {
		return reply{}, err
	}
	f, state, err := store.NewFlow(c.actor, p.Name, redirect, want, v.conf.flowTime())
	if err != nil {
		return reply{}, err
	}
	if err := v.discover(c, p); err != nil {
		return reply{}, err
	}
	if _, err := p.AuthorizeURL(c.ctx(), state, f.Verifier(state), redirect, want.Scopes...); err != nil {
		return reply{}, v.providerUnavailable(p, err) // now, not when a user waits
	}
	if err := v.store.AddFlow(c.ctx(), c.actor, f, state); err != nil {
		return reply{}, err
	}
	return reply{body: api.OAuthStart{AuthorizeURL: connectURL(v.publicURL(), state), State: state, Provider: p.Name, ExpiresAt: f.ExpiresAt}}, nil
}

// discoverTimeout is how long a call waits for a provider's configuration.
const discoverTimeout = 5 * time.Second

// discover gets a provider's endpoint if it isn't known yet.
func (v *Vault) discover(c *call, p *oauth.Provider) error {
	if p.Discovered() {
		return nil
	}
	release, full := v.outgoing.Take(c.actor.TenantID, "provider "+p.Name)
	if full != nil {
		return full
	}
	defer release()
	ctx, cancel := context.WithTimeout(c.ctx(), discoverTimeout)
	defer cancel()
	if err := p.Discover(ctx); err != nil {
		return v.providerUnavailable(p, err)
	}
	return nil
}

func (v *Vault) providerUnavailable(p *oauth.Provider, err error) error {
	v.log.Error().Err(err).Str("provider", p.Name).Msg("provider unavailable")
	return api.NewError(api.ErrUnavailable, "the provider is unavailable now; the vault's log says why")
}

// redirectURI is where the provider sends the browser: the vault's callback, or the requested URI if it is allowed.
func (v *Vault) redirectURI(requested string) (string, error) {
	public := v.publicURL()
	if public == "" {
		return "", api.NewError(api.ErrUnavailable, "the vault doesn't know where browsers reach it: public_url isn't set")
	}
	callback := public + oauth.CallbackPath
	if requested == "" {
		return callback, nil
	}
	if !v.conf.OAuth.Allows(requested, callback) {
		return "", api.NewError(api.ErrInvalid, "redirect_uri isn't on the list of allowed ones, which is compared byte for byte; leave it out for the vault's own")
	}
	return requested, nil
}

// flowQuery is the query of GET /egress/oauth/status.
type flowQuery struct {
	State string `query:"state"`
}

func (v *Vault) oauthStatus(c *call, q flowQuery) (reply, error) {
	if q.State == "" {
		return reply{}, api.NewError(api.ErrInvalid, "state is required")
	}
	status, err := v.store.FlowStatus(c.ctx(), c.actor, q.State)
	if status.Error != "" {
		status.Message = page.ResultOf(status.Status, status.Error, v.displayName(status.Provider)).Sentence()
	}
	return reply{body: status}, err
}

// displayName is a provider's name for people; its name if it isn't configured.
func (v *Vault) displayName(provider string) string {
	if p := v.conf.OAuth.Named(provider); p != nil {
		return p.DisplayName
	}
	return provider
}

// grant says how the vault refreshes a new secret; nil: it doesn't. It may complete n.
func (v *Vault) grant(c *call, n *api.NewSecret) (*store.Grant, error) {
	switch provider := oauth.ConnectionOf(n.Metadata).Provider; {
	case n.Type == oauth.TypeMachine:
		if err := v.store.CheckKey(c.ctx(), c.actor); err != nil { // before the token is requested
			return nil, err
		}
		return &store.Grant{}, v.mint(c, n)
	case n.Type == oauth.TypeAccount && n.RefreshToken.Len() > 0 && v.conf.OAuth.Named(provider) != nil:
		n.Metadata = oauth.WithStatus(n.Metadata, api.OAuthConnected, "")
		return &store.Grant{Provider: provider, Rule: v.conf.OAuth.Named(provider).Egress()}, nil
	}
	return nil, nil
}

// mint gets the token of a secret of type oauth_machine, whose value is the client's secret, before anything is stored,
// so that the client of the API sees a refusal. The client's secret becomes the refresh token.
func (v *Vault) mint(c *call, n *api.NewSecret) error {
	if n.RefreshToken.Len() > 0 {
		return api.NewError(api.ErrInvalid, "refresh_token has no meaning for type oauth_machine: value is the client's secret")
	}
	if n.ExpiresAt != nil {
		return api.NewError(api.ErrInvalid, "expires_at is set by the provider for type oauth_machine")
	}
	if err := store.Complete(n); err != nil {
		return err
	}
	release, full := v.outgoing.Take(c.actor.TenantID, oauth.TokenHost(n.Metadata))
	if full != nil {
		return full
	}
	defer release()
	token, err := v.conf.OAuth.Mint(c.ctx(), n.Metadata, n.Value)
	if err != nil {
		v.log.Warn().Err(err).Str("request_id", c.actor.RequestID).Msg("token not issued")
		return mintError(err)
	}
	n.Value, n.RefreshToken, n.ExpiresAt = token.Access, n.Value, token.ExpiresAt
	n.Metadata = oauth.WithStatus(n.Metadata, api.OAuthConnected, "")
	return nil
}

// rotateMachine is mint for a client that has a new secret. It does nothing for secrets of other types.
func (v *Vault) rotateMachine(c *call, next *store.Rotation) error {
	if next.Value.IsZero() || c.actor.Resource.ID != "" {
		return nil // the store returns the error
	}
	secret, err := v.store.SecretToRotate(c.ctx(), c.actor, c.id())
	if err != nil || secret.Type != oauth.TypeMachine {
		return err
	}
	n := api.NewSecret{Name: secret.Name, Type: oauth.TypeMachine, Metadata: secret.Metadata, Value: next.Value,
		RefreshToken: next.RefreshToken, ExpiresAt: next.ExpiresAt}
	if err := v.mint(c, &n); err != nil {
		return err
	}
	*next = store.Rotation{Value: n.Value, RefreshToken: n.RefreshToken, ExpiresAt: n.ExpiresAt, NeverExpires: n.ExpiresAt == nil, Egress: next.Egress}
	return nil
}

// mintError is the error for the client of the API. It contains the provider's error code and nothing else of its answer.
func mintError(err error) error {
	failed, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		return err
	}
	if failed.Outcome == oauth.Refused {
		return api.NewError(api.ErrInvalid, "the token_url refused the client: "+failed.Code)
	}
	text := "the token_url gave no token: " + failed.Code
	if failed.Unreachable() { // the same for all hosts: the tenant has named the URL
		text += ": it must have a public address, unless the vault's operator allows it"
	}
	e := api.NewError(api.ErrUnavailable, text)
	e.RetryAfter = max(failed.RetryAfter, 5*time.Second)
	return e
}
