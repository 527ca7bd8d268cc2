package vault

import "github.com/Miosa-osa/miosa-env/api"

func (v *Vault) createBinding(c *call, in api.NewBinding) (reply, error) {
	b, created, err := v.store.CreateBinding(c.ctx(), c.actor, in)
	return reply{made(created), data{b}}, err
}

func (v *Vault) listBindings(c *call, _ noBody) (reply, error) {
	q, err := c.query()
	if err != nil {
		return reply{}, err
	}
	bindings, err := v.store.Bindings(c.ctx(), c.actor, BindingFilter{
		ResourceID: q.text("resource_id"), ResourceType: q.text("resource_type"), SecretID: q.text("secret_id"),
	})
	return listOf("bindings", bindings, ""), err
}

func (v *Vault) deleteBinding(c *call, _ noBody) (reply, error) {
	return reply{body: deleted{true}}, v.store.DeleteBinding(c.ctx(), c.actor, c.id())
}
