package vault

import (
	"encoding/json"
	"net/http"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// secretBody is the body of POST /egress/secrets.
type secretBody struct {
	api.NewSecret
	api.Resource
	Value        plaintext  `json:"value"`
	RefreshToken plaintext  `json:"refresh_token"`
	ExpiresAt    instant    `json:"expires_at"`
	Metadata     jsonObject `json:"metadata"`
}

// secretAndBinding is the only answer with a key beside "data".
type secretAndBinding struct {
	Data    api.Secret   `json:"data"`
	Binding *api.Binding `json:"binding"`
}

func (v *Vault) putSecret(c *call, in secretBody) (reply, error) {
	defer in.Value.Wipe()
	defer in.RefreshToken.Wipe()
	n := in.NewSecret
	n.Resource, n.Value, n.RefreshToken = in.Resource, in.Value.Value, in.RefreshToken.Value
	n.ExpiresAt, n.Metadata = in.ExpiresAt.Time, json.RawMessage(in.Metadata)
	grant, err := v.grant(c, &n)
	if err != nil {
		return reply{}, err
	}
	secret, binding, created, err := v.store.PutSecret(c.ctx(), c.actor, n, grant)
	return reply{createdStatus(created), secretAndBinding{secret, binding}}, err
}

// rotationBody is the body of PATCH /egress/secrets/{id}.
type rotationBody struct {
	Value        plaintext `json:"value"`
	RefreshToken plaintext `json:"refresh_token"`
	ExpiresAt    instant   `json:"expires_at"`
}

func (v *Vault) rotateSecret(c *call, in rotationBody) (reply, error) {
	defer in.Value.Wipe()
	defer in.RefreshToken.Wipe()
	next := store.Rotation{Value: in.Value.Value, RefreshToken: in.RefreshToken.Value, ExpiresAt: in.ExpiresAt.Time, NeverExpires: in.ExpiresAt.null}
	if err := v.rotateMachine(c, &next); err != nil {
		return reply{}, err
	}
	secret, err := v.store.RotateSecret(c.ctx(), c.actor, c.id(), next)
	return reply{body: data{secret}}, err
}

func (v *Vault) createBinding(c *call, in api.NewBinding) (reply, error) {
	b, created, err := v.store.CreateBinding(c.ctx(), c.actor, in)
	return reply{createdStatus(created), data{b}}, err
}

// createdStatus is the status of the answer to a POST: 201 for something new, 200 for what existed.
func createdStatus(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}
