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
	Egress       egressRule `json:"egress"`
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
	n.ExpiresAt, n.Metadata, n.Egress = in.ExpiresAt.Time, json.RawMessage(in.Metadata), in.Egress.rule
	grant, err := v.grant(c, &n)
	if err != nil {
		return reply{}, err
	}
	secret, binding, created, err := v.store.PutSecret(c.ctx(), c.actor, n, grant)
	return reply{createdStatus(created), secretAndBinding{secret, binding}}, err
}

// rotationBody is the body of PATCH /egress/secrets/{id}.
type rotationBody struct {
	Value        plaintext  `json:"value"`
	RefreshToken plaintext  `json:"refresh_token"`
	ExpiresAt    instant    `json:"expires_at"`
	Egress       egressRule `json:"egress"`
}

// ruleOnly reports whether the body has an egress rule and nothing else.
func (b rotationBody) ruleOnly() bool {
	return b.Egress.rule != nil && b.Value.IsZero() && b.RefreshToken.IsZero() && b.ExpiresAt.Time == nil && !b.ExpiresAt.null
}

func (v *Vault) rotateSecret(c *call, in rotationBody) (reply, error) {
	defer in.Value.Wipe()
	defer in.RefreshToken.Wipe()
	if in.ruleOnly() {
		secret, err := v.store.SetRule(c.ctx(), c.actor, c.id(), *in.Egress.rule)
		return reply{body: data{secret}}, err
	}
	next := store.Rotation{Value: in.Value.Value, RefreshToken: in.RefreshToken.Value, ExpiresAt: in.ExpiresAt.Time, NeverExpires: in.ExpiresAt.null,
		Egress: in.Egress.rule}
	if err := v.rotateMachine(c, &next); err != nil {
		return reply{}, err
	}
	secret, err := v.store.RotateSecret(c.ctx(), c.actor, c.id(), next)
	return reply{body: data{secret}}, err
}

// bindingBody is the body of POST /egress/bindings.
type bindingBody struct {
	api.NewBinding
	Egress egressRule `json:"egress"`
}

func (v *Vault) createBinding(c *call, in bindingBody) (reply, error) {
	n := in.NewBinding
	n.Egress = in.Egress.rule
	b, created, err := v.store.CreateBinding(c.ctx(), c.actor, n)
	return reply{createdStatus(created), data{b}}, err
}

// bindingRule is the body of PATCH /egress/bindings/{id}.
type bindingRule struct {
	Egress egressRule `json:"egress"`
}

func (v *Vault) setBindingRule(c *call, in bindingRule) (reply, error) {
	if in.Egress.rule == nil {
		return reply{}, api.NewError(api.ErrInvalid, "egress is required: a rule, or null for none")
	}
	b, err := v.store.SetBindingRule(c.ctx(), c.actor, c.id(), *in.Egress.rule)
	return reply{body: data{b}}, err
}

// egressRule is an egress rule in a body. null is the zero rule; nil: the field is absent.
type egressRule struct{ rule *api.EgressRule }

// UnmarshalJSON implements json.Unmarshaler.
func (e *egressRule) UnmarshalJSON(b []byte) (err error) {
	e.rule, err = api.ParseEgressRule(b)
	return err
}

// createdStatus is the status of the answer to a POST: 201 for something new, 200 for what existed.
func createdStatus(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}
