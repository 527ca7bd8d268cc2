package vault

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// keyBody is the body of POST /egress/resource-keys and POST /egress/keys.
type keyBody struct {
	api.Resource
	Broker    bool    `json:"broker"`
	Label     string  `json:"label"`
	ExpiresAt instant `json:"expires_at"`

	Permissions restriction `json:"permissions"`
	Scopes      restriction `json:"scopes"`
	Resources   restriction `json:"resources"`
}

func (keyBody) mayBeMissing() {}

// restriction is a list that restricts a key. null and absent restrict nothing. An empty list is refused: it might be
// meant to allow nothing.
type restriction []string

// UnmarshalJSON implements json.Unmarshaler.
func (r *restriction) UnmarshalJSON(b []byte) error {
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errRestriction
	}
	if list != nil && len(list) == 0 {
		return errRestriction
	}
	*r = list
	return nil
}

var errRestriction = api.NewError(api.ErrInvalid, "permissions, scopes and resources must be lists of at least one string, or be left out")

// createKey makes a handler of a function that issues a key.
func createKey(issue func(context.Context, store.Actor, api.KeyRequest) (api.IssuedKey, error)) handler {
	return serveJSON(func(c *call, in keyBody) (reply, error) {
		key, err := issue(c.ctx(), c.actor, api.KeyRequest{
			Resource: in.Resource, Broker: in.Broker, Label: in.Label, ExpiresAt: in.ExpiresAt.Time,
			Restrictions: api.Restrictions{Permissions: in.Permissions, Scopes: in.Scopes, Resources: in.Resources},
		})
		return reply{http.StatusCreated, data{key}}, err
	})
}

// ownKey describes the key of the request.
func (v *Vault) ownKey(c *call, _ none) (reply, error) {
	key, err := v.store.OwnKey(c.ctx(), c.actor)
	return reply{body: data{key}}, err
}

// childrenQuery is the query of DELETE /egress/keys/{id}.
type childrenQuery struct {
	Children string `query:"children"`
}

func (v *Vault) revokeKey(c *call, q childrenQuery) (reply, error) {
	revoked, err := v.store.Revoke(c.ctx(), c.actor, c.id(), q.Children)
	return reply{body: revoked}, err
}

// issuedBeforeQuery is the query of DELETE /egress/keys.
type issuedBeforeQuery struct {
	IssuedBefore *time.Time `query:"issued_before"`
}

func (v *Vault) revokeKeys(c *call, q issuedBeforeQuery) (reply, error) {
	if q.IssuedBefore == nil {
		return reply{}, api.NewError(api.ErrInvalid, "issued_before is required: the keys that were created before this time are revoked")
	}
	revoked, err := v.store.RevokeIssuedBefore(c.ctx(), c.actor, *q.IssuedBefore)
	return reply{body: revoked}, err
}

// replacementBody is the body of POST /egress/keys/{id}/replace.
type replacementBody struct {
	GraceSeconds *int64  `json:"grace_seconds"`
	ExpiresAt    instant `json:"expires_at"`
}

func (replacementBody) mayBeMissing() {}

func (v *Vault) replaceKey(c *call, in replacementBody) (reply, error) {
	r := store.Replacement{Grace: api.DefaultGrace, ExpiresAt: in.ExpiresAt.Time, Never: in.ExpiresAt.null}
	if s := in.GraceSeconds; s != nil {
		// Out of range for any number that the duration can't hold.
		r.Grace = time.Duration(min(max(*s, -1), int64(api.MaxGrace/time.Second)+1)) * time.Second
	}
	key, err := v.store.ReplaceKey(c.ctx(), c.actor, c.id(), r)
	return reply{http.StatusCreated, data{key}}, err
}
