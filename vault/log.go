package vault

import (
	"cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// listAudit answers with a page of events, or with the hosts in them.
func (v *Vault) listAudit(c *call, f store.AuditFilter) (reply, error) {
	switch f.GroupBy {
	case "":
		if err := c.memory.Grow(c.ctx(), 2*f.PageBytes()); err != nil { // with its JSON
			return reply{}, err
		}
		events, next, err := v.store.Audit(c.ctx(), c.actor, f)
		return listOf("events", events, next), err
	case "host":
		groups, err := v.store.AuditHosts(c.ctx(), c.actor, f)
		return listOf("groups", groups, ""), err
	}
	return reply{}, api.NewError(api.ErrInvalid, "group_by must be host")
}

func (v *Vault) auditHead(c *call, _ none) (reply, error) {
	head, err := v.store.AuditHead(c.ctx(), c.actor)
	return reply{body: data{head}}, err
}

// verification is the query of GET /egress/audit/verify.
type verification struct {
	Limit  int    `query:"limit"`
	Cursor string `query:"cursor"`
}

// maxVerified is how many events one request verifies, so that a large log takes many requests, which are limited.
const maxVerified = 5000

// verifyAudit verifies the next part of the tenant's log.
func (v *Vault) verifyAudit(c *call, in verification) (reply, error) {
	if in.Limit > maxVerified {
		return reply{}, api.NewError(api.ErrInvalid, "limit must be 1 to 5000")
	}
	verifier, err := audit.ContinueAt(in.Cursor)
	if err != nil {
		return reply{}, err
	}
	check, err := v.store.VerifyAudit(c.ctx(), c.actor, verifier, cmp.Or(in.Limit, 1000))
	body := map[string]any{"data": check}
	if err == nil && !check.Complete && check.Problem == nil {
		body["next_cursor"] = verifier.Cursor()
	}
	return reply{body: body}, err
}

// suggestionQuery is what SDKs send for suggestions.
type suggestionQuery struct {
	ResourceID   string `query:"resource_id"`
	ResourceType string `query:"resource_type"`
	Since        string `query:"since"`
}

// auditSuggestions answers with no suggestions: the platform makes them from denied requests of sandboxes, of which this vault
// sees none.
func (v *Vault) auditSuggestions(*call, suggestionQuery) (reply, error) {
	return listOf("suggestions", []string{}, ""), nil
}
