package vault

import (
	"cmp"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

func policyPage(f *store.PolicyFilter) *store.Page { return &f.Page }
func entryPage(f *store.EntryFilter) *store.Page   { return &f.Page }

// policyBody and entryBody are the requests of policies and of the allowlist.
type policyBody struct{ api.PolicyRequest }
type entryBody struct{ api.NewAllowlistEntry }

func (policyBody) knowsAllFields() {}
func (entryBody) knowsAllFields()  {}

func (v *Vault) createPolicy(c *call, in policyBody) (reply, error) {
	p, err := v.store.CreatePolicy(c.ctx(), c.actor, in.PolicyRequest)
	return reply{http.StatusCreated, data{p}}, err
}

// setPolicy changes the policy in the path, or without one that of the resource in the body, or the tenant's default.
func (v *Vault) setPolicy(c *call, in policyBody) (reply, error) {
	p, err := v.store.SetPolicy(c.ctx(), c.actor, c.id(), in.PolicyRequest)
	return reply{body: data{p}}, err
}

func (v *Vault) allow(c *call, in entryBody) (reply, error) {
	e, created, err := v.store.CreateEntry(c.ctx(), c.actor, in.NewAllowlistEntry)
	return reply{createdStatus(created), data{e}}, err
}

// trafficBody is an api.TrafficReport whose times are checked with the other fields.
type trafficBody struct {
	Events []reportedRequest `json:"events"`
}

type reportedRequest struct {
	api.TrafficEvent
	OccurredAt api.LooseTime `json:"occurred_at"`
}

func (v *Vault) recordTraffic(c *call, in trafficBody) (reply, error) {
	events := make([]api.TrafficEvent, len(in.Events))
	for i := range in.Events {
		events[i] = in.Events[i].TrafficEvent
		events[i].OccurredAt = in.Events[i].OccurredAt.Time
	}
	answer, err := v.store.RecordTraffic(c.ctx(), c.actor, events)
	v.metrics.traffic.Add(float64(answer.Recorded))
	return reply{body: data{answer}}, err
}

// suggestionQuery selects the requests that suggestions are made of.
type suggestionQuery struct {
	ResourceID   string     `query:"resource_id"`
	ResourceType string     `query:"resource_type"`
	Since        *time.Time `query:"since"`
}

// suggestTime is how old the requests are, at most, that suggestions are made of by default.
const suggestTime = 7 * 24 * time.Hour

func (v *Vault) auditSuggestions(c *call, q suggestionQuery) (reply, error) {
	if err := c.memory.Grow(c.ctx(), listMemory); err != nil {
		return reply{}, err
	}
	since := cmp.Or(q.Since, new(time.Now().Add(-suggestTime)))
	list, err := v.store.Suggestions(c.ctx(), c.actor, store.AuditFilter{ResourceID: q.ResourceID, ResourceType: q.ResourceType, Since: since})
	return listOf("suggestions", list, ""), err
}
