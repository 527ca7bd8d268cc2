package vault

import (
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

func (v *Vault) listProviders(*call, noBody) (reply, error) {
	return listOf("providers", v.conf.OAuth.List(), ""), nil
}

func (v *Vault) startOAuth(c *call, in api.OAuthRequest) (reply, error) {
	if in.Provider == "" {
		return reply{}, invalid("provider is required")
	}
	p := v.conf.OAuth.Named(in.Provider)
	if p == nil {
		return reply{}, invalid("provider: there is none of this name; GET /egress/oauth/providers lists them")
	}
	redirect, err := v.redirectURI(in.RedirectURI)
	if err != nil {
		return reply{}, err
	}
	empty := api.NewValue(nil)
	trial := secretOf(in.OAuthSecret, p.Name)
	trial.Value = &empty
	if err := trial.complete(); err != nil {
		return reply{}, err
	}
	f, state := newFlow(c.actor, p.Name, redirect, in.OAuthSecret, now(), v.conf.flowTime())
	link, err := p.AuthorizeURL(c.ctx(), state, f.verifier(state), redirect)
	if err != nil {
		v.log.Error().Err(err).Str("provider", p.Name).Msg("provider can't be used")
		return reply{}, api.NewError(api.ErrUnavailable, "the provider can't be used now; the vault's log says why")
	}
	if err := v.store.addFlow(c.ctx(), c.actor, f, state, in.OAuthSecret); err != nil {
		return reply{}, err
	}
	return reply{body: api.OAuthStart{AuthorizeURL: link, State: state, Provider: p.Name, ExpiresAt: fromMicros(f.expires)}}, nil
}

// redirectURI is where the provider sends the browser: the vault's own callback, or another that is allowed, byte for
// byte.
func (v *Vault) redirectURI(asked string) (string, error) {
	callback := ""
	if at := v.publicURL(); at != "" {
		callback = at + oauth.CallbackPath
	}
	switch {
	case asked == "" && callback == "":
		return "", api.NewError(api.ErrUnavailable, "the vault doesn't know where browsers reach it: public_url isn't set")
	case asked == "":
		return callback, nil
	case !v.conf.OAuth.Allows(asked, callback):
		return "", invalid("redirect_uri isn't on the list of allowed ones, which is compared byte for byte; leave it out for the vault's own")
	}
	return asked, nil
}

func (v *Vault) oauthStatus(c *call, _ noBody) (reply, error) {
	q, err := c.query()
	if err != nil {
		return reply{}, err
	}
	state := q.text("state")
	if state == "" {
		return reply{}, invalid("state is required")
	}
	status, err := v.store.Flow(c.ctx(), c.actor, state)
	if status.Error != "" {
		name := status.Provider
		if p := v.conf.OAuth.Named(name); p != nil {
			name = p.DisplayName
		}
		status.Message = endingOf(status.Status, status.Error, name).sentence()
	}
	return reply{body: status}, err
}

// renewable prepares a secret that the vault is to renew by itself; of others it changes nothing.
func (v *Vault) renewable(c *call, p *PutSecret) error {
	switch p.Type {
	case typeMachine:
		return v.mint(c, p)
	case typeConnect:
		if p.grant = givenOAuth(*p, func(name string) bool { return v.conf.OAuth.Named(name) != nil }); p.grant != nil {
			p.Metadata = []byte(withOAuth(string(p.Metadata), api.OAuthConnected, ""))
		}
	}
	return nil
}

// mint makes the token that a secret of type oauth_machine delivers, before anything is stored: a client that the
// provider refuses is refused to the caller. The client's secret takes the place of a refresh token.
func (v *Vault) mint(c *call, p *PutSecret) error {
	if p.RefreshToken != nil {
		return invalid("refresh_token has no meaning for type oauth_machine: value is the client's secret")
	}
	if p.ExpiresAt != nil {
		return invalid("expires_at is the provider's to say for type oauth_machine")
	}
	if err := p.complete(); err != nil {
		return err
	}
	m, err := machineOf(string(p.Metadata))
	if err != nil {
		return err
	}
	token, err := v.conf.OAuth.Mint(c.ctx(), m, *p.Value)
	if err != nil {
		return mintRefusal(err)
	}
	p.Value, p.RefreshToken, p.ExpiresAt = &token.Access, p.Value, token.ExpiresAt
	p.Metadata = []byte(withOAuth(string(p.Metadata), api.OAuthConnected, ""))
	p.grant = &grant{}
	return nil
}

// remint is mint for a client that has a new secret; for secrets of another type it changes nothing.
func (v *Vault) remint(c *call, r *Rotation) error {
	if r.Value == nil || c.actor.Resource != nil {
		return nil // the store says what is wrong
	}
	secret, err := v.store.Secret(c.ctx(), c.actor, c.id())
	if err != nil || secret.Type != typeMachine {
		return err
	}
	p := PutSecret{Name: secret.Name, Type: typeMachine, Metadata: secret.Metadata, Value: r.Value,
		RefreshToken: r.RefreshToken, ExpiresAt: r.ExpiresAt}
	if err := v.mint(c, &p); err != nil {
		return err
	}
	*r = Rotation{Value: p.Value, RefreshToken: p.RefreshToken, ExpiresAt: p.ExpiresAt, NeverExpires: p.ExpiresAt == nil}
	return nil
}

// mintRefusal tells a caller why there is no token. The code is the provider's word; nothing else of its answer is told.
func mintRefusal(err error) error {
	failed, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		return err
	}
	if failed.Outcome == oauth.Refused {
		return invalid("the token_url refused the client: " + failed.Code)
	}
	text := "the token_url gave no token: " + failed.Code
	if reason := failed.Public(); reason != "" {
		text += ": " + reason
	}
	e := api.NewError(api.ErrUnavailable, text)
	e.RetryAfter = max(failed.RetryAfter, 5*time.Second)
	return e
}
