package secrets

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// Providers gives the OAuth providers that accounts can be connected at.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) { return c.vault.Providers(ctx) }

// Connect says what becomes of an account that is connected. All of it is optional.
type Connect struct {
	Scope string // as in Set

	OwnerUserID, ExternalUserID, ExternalWorkspaceID string // whom it is attributed to

	Resource    Resource // the sandbox or computer it is for; the zero Resource: none
	ExposeAsEnv string   // with Resource: also bind it there, under this variable

	RedirectURI string // where the user's browser goes at the end; the vault's own page where empty
}

// Connect begins to connect an account at a provider, by the name that Providers gives. The user is to
// open the flow's AuthorizeURL; this package opens no browser. Once the user has agreed, the vault
// keeps the token as a secret and renews it.
// Errors: api.ErrInvalid where there is no such provider, or RedirectURI isn't allowed; api.ErrNotFound from
// a vault that doesn't know OAuth.
func (c *Client) Connect(ctx context.Context, provider string, o Connect) (*Flow, error) {
	before, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	start, err := c.vault.StartOAuth(ctx, api.OAuthRequest{Provider: provider, RedirectURI: o.RedirectURI, OAuthSecret: api.OAuthSecret{
		Scope: o.Scope, OwnerUserID: o.OwnerUserID, ExternalUserID: o.ExternalUserID, ExternalWorkspaceID: o.ExternalWorkspaceID,
		ResourceType: o.Resource.Type, ResourceID: o.Resource.ID, ExposeAsEnv: o.ExposeAsEnv,
	}})
	if err != nil {
		return nil, err
	}
	return &Flow{
		AuthorizeURL: start.AuthorizeURL, State: start.State, Provider: start.Provider, ExpiresAt: start.ExpiresAt,
		vault: c.vault, wanted: o, before: before,
	}, nil
}

// connected gives the ids of the accounts that are connected now, for a vault that doesn't tell how a flow
// is going; nil where it doesn't list them either.
func (c *Client) connected(ctx context.Context) (map[string]bool, error) {
	list, err := c.vault.Secrets(ctx, fetch.SecretFilter{Type: typeConnected})
	switch {
	case err == nil:
	case ctx.Err() != nil, api.Temporary(err), errors.Is(err, api.ErrUnauthorized):
		return nil, err // the flow couldn't begin either
	default:
		return nil, nil
	}
	ids := make(map[string]bool, len(list))
	for _, s := range list {
		ids[s.ID] = true
	}
	return ids, nil
}

// Resume gives the flow with a State that was kept from an earlier Connect, here or elsewhere. Its other
// fields are empty. It takes a vault that tells how a flow is going: what was there before isn't known.
func (c *Client) Resume(state string) *Flow { return &Flow{State: state, vault: c.vault} }
