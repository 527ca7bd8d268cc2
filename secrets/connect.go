package secrets

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// Providers returns the OAuth providers at which accounts can be connected.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) { return c.vault.Providers(ctx) }

// Connect describes the secret that connecting an account creates. All fields are optional.
type Connect struct {
	Scope string // as in Set

	OwnerUserID, ExternalUserID, ExternalWorkspaceID string // the secret's owners

	Resource    Resource // the sandbox or computer it belongs to; the zero Resource: none
	ExposeAsEnv string   // with Resource: also bind it there, under this variable
	Delivery    string   // of that binding, as in Set

	RedirectURI string // where the user's browser is sent at the end; "": a page of the vault
}

// Connect starts to connect an account at a provider, by a name that Providers returns. The caller shows the flow's
// AuthorizeURL to the user: this package opens no browser. After the user has agreed, the vault stores the token as a
// secret and refreshes it.
// Errors: api.ErrInvalid if there is no such provider, or RedirectURI isn't allowed; api.ErrNotFound from
// a vault without OAuth.
func (c *Client) Connect(ctx context.Context, provider string, o Connect) (*Flow, error) {
	before, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	start, err := c.vault.StartOAuth(ctx, api.OAuthRequest{Provider: provider, RedirectURI: o.RedirectURI, OAuthSecret: api.OAuthSecret{
		Scope: o.Scope, OwnerUserID: o.OwnerUserID, ExternalUserID: o.ExternalUserID, ExternalWorkspaceID: o.ExternalWorkspaceID,
		ResourceType: o.Resource.Type, ResourceID: o.Resource.ID, ExposeAsEnv: o.ExposeAsEnv, Delivery: o.Delivery,
	}})
	if err != nil {
		return nil, err
	}
	return &Flow{
		AuthorizeURL: start.AuthorizeURL, State: start.State, Provider: start.Provider, ExpiresAt: start.ExpiresAt,
		vault: c.vault, wanted: o, before: before,
	}, nil
}

// connected returns the ids of the connected accounts, for a vault that doesn't return the status of flows; nil if it
// doesn't list them.
func (c *Client) connected(ctx context.Context) (map[string]bool, error) {
	list, err := c.vault.Secrets(ctx, fetch.SecretFilter{Type: typeConnected})
	switch {
	case err == nil:
	case ctx.Err() != nil, api.Temporary(err), errors.Is(err, api.ErrUnauthorized):
		return nil, err // the flow couldn't start either
	default:
		return nil, nil
	}
	ids := make(map[string]bool, len(list))
	for _, s := range list {
		ids[s.ID] = true
	}
	return ids, nil
}

// Resume returns the flow with the State of an earlier Connect. Its other fields are empty, and its vault must return
// the status of flows: the accounts that were connected before are unknown.
func (c *Client) Resume(state string) *Flow { return &Flow{State: state, vault: c.vault} }
