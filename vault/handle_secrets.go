package vault

import (
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// secretBody is the body of POST /egress/secrets.
type secretBody struct {
	api.NewSecret
	api.Resource
	Value        plain  `json:"value"`
	RefreshToken plain  `json:"refresh_token"`
	ExpiresAt    moment `json:"expires_at"`
	Metadata     object `json:"metadata"`
}

// secretAndBinding is the one answer with a key beside "data".
type secretAndBinding struct {
	Data    api.Secret   `json:"data"`
	Binding *api.Binding `json:"binding"`
}

func (v *Vault) putSecret(c *call, in secretBody) (reply, error) {
	defer in.Value.Wipe()
	defer in.RefreshToken.Wipe()
	put := PutSecret{
		Name: in.Name, Type: in.NewSecret.Type, Scope: in.Scope,
		WorkspaceID: in.WorkspaceID, OwnerUserID: in.OwnerUserID,
		ExternalUserID: in.ExternalUserID, ExternalWorkspaceID: in.ExternalWorkspaceID,
		ResourceType: in.Resource.Type, ResourceID: in.Resource.ID,
		Value: in.Value.value(), RefreshToken: in.RefreshToken.token(), ExpiresAt: in.ExpiresAt.Time,
		Metadata: json.RawMessage(in.Metadata), ExposeAsEnv: in.ExposeAsEnv, Delivery: in.Delivery,
	}
	if err := v.renewable(c, &put); err != nil {
		return reply{}, err
	}
	secret, binding, created, err := v.store.PutSecret(c.ctx(), c.actor, put)
	return reply{made(created), secretAndBinding{secret, binding}}, err
}

func (v *Vault) listSecrets(c *call, _ noBody) (reply, error) {
	q, err := c.query()
	f := SecretFilter{
		ResourceID: q.text("resource_id"), ResourceType: q.text("resource_type"),
		Scope: q.text("scope"), Type: q.text("type"),
		WorkspaceID: q.text("workspace_id"), OwnerUserID: q.text("owner_user_id"),
		ExternalUserID: q.text("external_user_id"), ExternalWorkspaceID: q.text("external_workspace_id"),
		Limit: q.number("limit", &err), Cursor: q.text("cursor"),
	}
	if err != nil {
		return reply{}, err
	}
	secrets, next, err := v.store.Secrets(c.ctx(), c.actor, f)
	return listOf("secrets", secrets, next), err
}

func (v *Vault) oneSecret(c *call, _ noBody) (reply, error) {
	secret, err := v.store.Secret(c.ctx(), c.actor, c.id())
	return reply{body: data{secret}}, err
}

// rotationBody is the body of PATCH /egress/secrets/{id}.
type rotationBody struct {
	Value        plain  `json:"value"`
	RefreshToken plain  `json:"refresh_token"`
	ExpiresAt    moment `json:"expires_at"`
}

func (v *Vault) rotateSecret(c *call, in rotationBody) (reply, error) {
	defer in.Value.Wipe()
	defer in.RefreshToken.Wipe()
	next := Rotation{
		Value: in.Value.value(), RefreshToken: in.RefreshToken.token(),
		ExpiresAt: in.ExpiresAt.Time, NeverExpires: in.ExpiresAt.null,
	}
	if err := v.remint(c, &next); err != nil {
		return reply{}, err
	}
	secret, err := v.store.RotateSecret(c.ctx(), c.actor, c.id(), next)
	return reply{body: data{secret}}, err
}

func (v *Vault) deleteSecret(c *call, _ noBody) (reply, error) {
	return reply{body: deleted{true}}, v.store.DeleteSecret(c.ctx(), c.actor, c.id())
}

// made is the status of an answer to a POST: 201 for something new, 200 for what stood already.
func made(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// moment is an optional time in a body. null is told from absent; "" counts as absent.
type moment struct {
	*time.Time
	null bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		m.null = true
		return nil
	}
	var s string
	if b[0] != '"' || json.Unmarshal(b, &s) != nil {
		return errNoTime
	}
	if s == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	// In UTC the year may be one more or less, and then it can't be written again.
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return errNoTime
	}
	m.Time = &t
	return nil
}

var errNoTime = api.NewError(api.ErrInvalid, "expires_at must be a time such as 2030-01-02T03:04:05Z")

// object is any JSON object in a body.
type object json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (o *object) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*o = nil
	case b[0] == '{':
		*o = append((*o)[:0], b...)
	default:
		return &json.UnmarshalTypeError{Value: "another type", Type: reflect.TypeFor[map[string]any]()}
	}
	return nil
}
