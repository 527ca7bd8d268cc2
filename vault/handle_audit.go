package vault

func (v *Vault) listAudit(c *call, _ noBody) (reply, error) {
	q, err := c.query()
	f := AuditFilter{
		ResourceID: q.text("resource_id"), ResourceType: q.text("resource_type"), Action: q.text("action"),
		Since: q.moment("since", &err), Until: q.moment("until", &err),
		Limit: q.number("limit", &err), Cursor: q.text("cursor"),
	}
	if err != nil {
		return reply{}, err
	}
	events, next, err := v.store.Audit(c.ctx(), c.actor, f)
	return listOf("events", events, next), err
}

func (v *Vault) oneAuditEvent(c *call, _ noBody) (reply, error) {
	event, err := v.store.AuditEvent(c.ctx(), c.actor, c.id())
	return reply{body: data{event}}, err
}
