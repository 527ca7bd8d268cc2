package vault

import (
	"net/http"

	"github.com/Miosa-osa/miosa-env/api"
)

// resourceKeyBody is the body of POST /egress/resource-keys.
type resourceKeyBody struct {
	api.Resource
	ExpiresAt moment `json:"expires_at"`
}

func (v *Vault) createResourceKey(c *call, in resourceKeyBody) (reply, error) {
	key, err := v.store.CreateResourceKey(c.ctx(), c.actor, in.Resource, in.ExpiresAt.Time)
	return reply{http.StatusCreated, data{key}}, err
}

func (v *Vault) listResourceKeys(c *call, _ noBody) (reply, error) {
	q, err := c.query()
	if err != nil {
		return reply{}, err
	}
	keys, err := v.store.ResourceKeys(c.ctx(), c.actor, api.Resource{Type: q.text("resource_type"), ID: q.text("resource_id")})
	return listOf("resource_keys", keys, ""), err
}

func (v *Vault) revokeResourceKey(c *call, _ noBody) (reply, error) {
	return reply{body: deleted{true}}, v.store.RevokeResourceKey(c.ctx(), c.actor, c.id())
}
