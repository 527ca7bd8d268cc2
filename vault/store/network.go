package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// defaultPolicyID stands for the tenant's default policy.
const defaultPolicyID = "default"

const maxNote = 1 << 10 // bytes of a description or note

func checkPolicy(n *api.PolicyRequest) error {
	return cmp.Or(n.Validate(), checkText("name", orEmpty(n.Name), maxName), checkText("description", orEmpty(n.Description), maxNote))
}

// CreatePolicy creates the policy of a resource, or the tenant's default.
// Errors: ErrInvalid; ErrConflict if there is one; ErrDenied for a resource key, and for what exceeds the actor's restrictions.
func (s *Store) CreatePolicy(ctx context.Context, a Actor, n api.PolicyRequest) (p api.Policy, err error) {
	invalidPolicy := checkPolicy(&n)
	if orEmpty(n.Name) == "" {
		invalidPolicy = invalid("name is required")
	}
	err = s.change(ctx, a, actPolicyCreate, 0, invalidPolicy, func(t *txn) error {
		if err := t.mayUseNetwork(actPolicyCreate, n.Resource); err != nil {
			return err
		}
		existing, err := t.policyOf(n.Resource)
		if err == nil {
			return api.NewError(api.ErrConflict, "this resource, or the tenant by default, has the policy "+existing.ID+": change that one")
		}
		if !errors.Is(err, api.ErrNotFound) {
			return err
		}
		r := policyRow{Policy: api.Policy{Mode: api.ModeEnforce, DefaultEffect: api.EffectDeny}}
		p, err = t.addPolicy(r, n)
		return err
	})
	return p, err
}

// SetPolicy changes the policy with an id, or that of its resource; with "" or defaultPolicyID, the policy of n's resource, zero
// for the tenant's default. If that resource has none, it creates one with what has applied to it so far.
// Errors: ErrInvalid, ErrNotFound, ErrDenied.
func (s *Store) SetPolicy(ctx context.Context, a Actor, id string, n api.PolicyRequest) (p api.Policy, err error) {
	if id != "" {
		n.Resource = api.Resource{} // a policy stays where it is
	}
	err = s.change(ctx, a, actPolicyUpdate, 0, checkPolicy(&n), func(t *txn) error {
		byResource := id == "" || id == defaultPolicyID
		find := func() (policyRow, error) { return t.policy(id) }
		if byResource {
			find = func() (policyRow, error) { return t.policyOf(n.Resource) }
		}
		r, err := find()
		if err == nil {
			p, err = t.changePolicy(r, n)
		}
		if !byResource || !errors.Is(err, api.ErrNotFound) {
			return err
		}
		applies, err := t.networkPolicy(n.Resource)
		if err != nil {
			return err
		}
		name := defaultPolicyID
		if n.Resource != (api.Resource{}) {
			name = n.Resource.String()
		}
		named := n // n stays as it is: the transaction may run again
		named.Name = cmp.Or(n.Name, &name)
		p, err = t.addPolicy(policyRow{Policy: api.Policy{Mode: applies.Mode, DefaultEffect: applies.DefaultEffect}}, named)
		return err
	})
	return p, err
}

// addPolicy stores a policy for the resource of n.
func (t *txn) addPolicy(r policyRow, n api.PolicyRequest) (api.Policy, error) {
	if err := t.mayUseNetwork(actPolicyCreate, n.Resource); err != nil {
		return api.Policy{}, err
	}
	if err := t.mayAdd(limit.TenantPolicies, `SELECT 1 FROM network_policies WHERE tenant_id = $1`); err != nil {
		return api.Policy{}, err
	}
	r.ID, r.tenant, r.CreatedAt = newID("pol_"), t.actor.TenantID, t.now
	r.ResourceType, r.ResourceID = orNil(n.Resource.Type), orNil(n.Resource.ID)
	r.set(n, t.now)
	if err := t.authenticate(&r); err != nil {
		return api.Policy{}, err
	}
	return r.Policy, cmp.Or(t.insert("network_policies", r.stored()), t.policyChanged(actPolicyCreate, &r))
}

// changePolicy stores what n changes in a policy.
func (t *txn) changePolicy(r policyRow, n api.PolicyRequest) (api.Policy, error) {
	if err := t.mayUseNetwork(actPolicyUpdate, resourceOf(r.ResourceType, r.ResourceID)); err != nil {
		return api.Policy{}, err
	}
	before := r.Policy
	r.set(n, before.UpdatedAt)
	if r.Policy == before {
		return r.Policy, nil
	}
	r.UpdatedAt = t.now
	if err := t.authenticate(&r); err != nil {
		return api.Policy{}, err
	}
	return r.Policy, cmp.Or(t.update("network_policies", r.ID, r.stored()), t.policyChanged(actPolicyUpdate, &r))
}

// set sets the fields that a request has.
func (r *policyRow) set(n api.PolicyRequest, at time.Time) {
	for _, f := range []struct{ to, from *string }{
		{&r.Name, n.Name}, {&r.Description, n.Description}, {&r.Mode, n.Mode}, {&r.DefaultEffect, n.DefaultEffect},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	r.UpdatedAt = at
}

// policyChanged wakes the reveals of the resources that a policy applies to, and audits the change.
func (t *txn) policyChanged(action string, r *policyRow) error {
	t.wake(resourceOf(r.ResourceType, r.ResourceID)) // zero for the default: all resources
	e := api.Event{Action: action, ResourceType: orEmpty(r.ResourceType), ResourceID: orEmpty(r.ResourceID), Detail: r.Mode + ", default " + r.DefaultEffect}
	e.PolicyID = r.ID
	return t.audit(e)
}

// policyOf reads the policy of exactly this resource, zero for the default. Errors: ErrNotFound.
func (t *txn) policyOf(r api.Resource) (policyRow, error) {
	return one(t, "policy", (*policyRow).fields, selectPolicies+` WHERE tenant_id = $1 AND resource_type = $2 AND resource_id = $3`,
		t.actor.TenantID, r.Type, r.ID)
}

// policy reads a policy that the actor may see, by its id or that of its resource. Errors: ErrNotFound; ErrConflict for the id of
// several resources.
func (t *txn) policy(id string) (policyRow, error) {
	return policyBy(t, namedPolicy(id), (*policyRow).fields)
}

// namedPolicy selects the policy with an id, or that of its resource.
func namedPolicy(id string) query.Conditions {
	return query.Conditions{Terms: []string{"(id = $1 OR resource_id = $1)"}, Args: []any{id}}
}

// policyBy reads the policy that c selects and the actor may see. Errors: as of policy.
func policyBy[Row any](t *txn, c query.Conditions, fields func(*Row) []any) (row Row, err error) {
	c.Add("tenant_id =", t.actor.TenantID)
	t.actor.limitNetwork(&c)
	rows, err := collect(t, fields, selectPolicies+c.String(), c.Args...)
	switch {
	case err != nil:
		return row, err
	case len(rows) == 0:
		return row, notFound("policy")
	case len(rows) > 1:
		return row, api.NewError(api.ErrConflict, "a sandbox and a computer have this id: give the policy's")
	}
	return rows[0], nil
}

// entry is the entry as the API returns it.
func (r *entryRow) entry() api.AllowlistEntry {
	e := r.AllowlistEntry
	e.Methods = append([]string{}, e.Methods...)
	return e
}

// Policy returns a policy, by its id, that of its resource, or defaultPolicyID. Errors: ErrNotFound.
func (s *Store) Policy(ctx context.Context, a Actor, id string) (api.Policy, error) {
	return read(ctx, s, a, actNetworkRead, func(t *txn) (api.Policy, error) {
		if id != defaultPolicyID || !t.actor.seesNetwork(api.Resource{}) {
			r, err := t.policy(id)
			return r.Policy, err
		}
		r, err := t.policyOf(api.Resource{})
		if errors.Is(err, api.ErrNotFound) {
			p := api.DefaultPolicy()
			return api.Policy{ID: defaultPolicyID, Name: defaultPolicyID, Mode: p.Mode, DefaultEffect: p.DefaultEffect}, nil
		}
		return r.Policy, err
	})
}

// PolicyFilter selects policies by exact matches; "" matches everything.
type PolicyFilter struct {
	ResourceType string `query:"resource_type"`
	ResourceID   string `query:"resource_id"`

	Page
}

// Policies lists a page of policies, oldest first. next is as of Secrets.
func (s *Store) Policies(ctx context.Context, a Actor, f PolicyFilter) (page []api.Policy, next string, err error) {
	var c query.Conditions
	c.Match("resource_type", f.ResourceType, "resource_id", f.ResourceID)
	return listNetwork(ctx, s, a, f.Page, c, selectPolicies, func(r *policyRow) int { return len(r.Description) },
		func(r *policyRow) (api.Policy, time.Time, string) { return r.Policy, r.CreatedAt, r.ID })
}

// listNetwork lists a page of the rows of a query that c selects, and that the actor may see. item returns what the page has of a
// row, and when the row was created and its id, for the cursor.
func listNetwork[Row, Item any, P storedRow[Row]](ctx context.Context, s *Store, a Actor, p Page, c query.Conditions, rowsOf string,
	size func(*Row) int, item func(*Row) (Item, time.Time, string)) (page []Item, next string, err error) {
	c.Add("tenant_id =", a.TenantID)
	page, err = readMuch(ctx, s, a, actNetworkRead, query.PageBytes, func(t *txn) ([]Item, error) {
		c := c.Clone() // read may run twice
		t.actor.limitNetwork(&c)
		if err := c.After("", p.Cursor); err != nil {
			return nil, err
		}
		cursor := func(r *Row) string {
			_, created, id := item(r)
			return query.NewCursor(created, id)
		}
		rows, last, err := list(t, p, func(r *Row) []any { return P(r).stored().fields() }, size, cursor, rowsOf+c.String()+` ORDER BY created_at, id`, c.Args...)
		page := make([]Item, len(rows))
		for i := range rows {
			page[i], _, _ = item(&rows[i])
		}
		next = last
		return page, err
	})
	return page, next, err
}

// DeletePolicy deletes a policy, by its id, that of its resource, or defaultPolicyID, and the entries that are only for it.
// Errors: ErrNotFound, ErrDenied; ErrConflict as of policy.
func (s *Store) DeletePolicy(ctx context.Context, a Actor, id string) error {
	return s.write(ctx, a, actPolicyDelete, func(t *txn) error {
		c := namedPolicy(id)
		if id == defaultPolicyID && t.actor.seesNetwork(api.Resource{}) {
			c = query.Conditions{Terms: []string{"resource_type = ''", "resource_id = ''"}}
		}
		u, err := policyBy(t, c, func(u *unverified[policyRow]) []any { return u.row.fields() })
		if err != nil {
			return err
		}
		return cmp.Or(t.Exec(`DELETE FROM allowlist WHERE tenant_id = $1 AND policy_id = $2`, a.TenantID, u.row.ID),
			t.Exec(`DELETE FROM network_policies WHERE id = $1`, u.row.ID), t.policyChanged(actPolicyDelete, &u.row))
	})
}

// CreateEntry adds an entry to the allowlist. If the same entry exists, it is returned, with created false.
// Errors: ErrInvalid, ErrNotFound (the policy), ErrDenied.
func (s *Store) CreateEntry(ctx context.Context, a Actor, n api.NewAllowlistEntry) (e api.AllowlistEntry, created bool, err error) {
	invalidEntry := cmp.Or(n.Complete(), checkText("note", n.Note, maxNote), checkText("policy_id", n.PolicyID, maxWord))
	err = s.change(ctx, a, actEntryCreate, 0, invalidEntry, func(t *txn) error {
		e, created, err = t.addEntry(n)
		return err
	})
	return e, created, err
}

func (t *txn) addEntry(n api.NewAllowlistEntry) (e api.AllowlistEntry, created bool, err error) {
	if err := t.mayUseNetwork(actEntryCreate, n.Resource); err != nil {
		return e, false, err
	}
	if n.PolicyID != "" {
		p, err := t.policyOfEntry(n.PolicyID)
		if err != nil {
			return e, false, err
		}
		n.PolicyID = p.ID
	}
	existing, err := one(t, "entry", (*entryRow).fields, selectEntries+` WHERE tenant_id = $1 AND resource_type = $2 AND resource_id = $3 AND policy_id = $4
		AND host = $5 AND effect = $6 AND methods = $7 AND path_glob = $8`,
		t.actor.TenantID, n.Resource.Type, n.Resource.ID, n.PolicyID, n.Host, n.Effect, listText(n.Methods), n.PathGlob)
	if !errors.Is(err, api.ErrNotFound) {
		return existing.entry(), false, err
	}
	if err := t.mayAdd(limit.TenantAllowlist, `SELECT 1 FROM allowlist WHERE tenant_id = $1`); err != nil {
		return e, false, err
	}
	r := entryRow{tenant: t.actor.TenantID, AllowlistEntry: api.AllowlistEntry{
		ID: newID("rul_"), Host: n.Host, Effect: n.Effect, Methods: n.Methods, PathGlob: orNil(n.PathGlob), PolicyID: orNil(n.PolicyID),
		ResourceType: orNil(n.Resource.Type), ResourceID: orNil(n.Resource.ID), Note: orNil(n.Note), CreatedAt: t.now,
	}}
	if err := t.authenticate(&r); err != nil {
		return e, false, err
	}
	return r.entry(), true, cmp.Or(t.insert("allowlist", r.stored()), t.entryChanged(actEntryCreate, &r))
}

// policyOfEntry reads a policy that the actor may see, by its id or defaultPolicyID. Errors: ErrNotFound.
func (t *txn) policyOfEntry(id string) (policyRow, error) {
	var c query.Conditions
	c.Add("tenant_id =", t.actor.TenantID)
	if id == defaultPolicyID {
		c.Terms = append(c.Terms, "resource_type = '' AND resource_id = ''")
	} else {
		c.Add("id =", id)
	}
	t.actor.limitNetwork(&c)
	return one(t, "policy", (*policyRow).fields, selectPolicies+c.String(), c.Args...)
}

// entryChanged wakes the reveals of the resources that an entry applies to, and audits the change.
func (t *txn) entryChanged(action string, r *entryRow) error {
	t.wake(resourceOf(r.ResourceType, r.ResourceID))
	e := api.Event{Action: action, ResourceType: orEmpty(r.ResourceType), ResourceID: orEmpty(r.ResourceID), Detail: strings.Join(r.Methods, " ")}
	e.Host, e.Effect, e.Path, e.RuleID, e.PolicyID = r.Host, r.Effect, orEmpty(r.PathGlob), r.ID, orEmpty(r.PolicyID)
	return t.audit(e)
}

// EntryFilter selects entries by exact matches; "" matches everything.
type EntryFilter struct {
	PolicyID     string `query:"policy_id"`
	ResourceType string `query:"resource_type"`
	ResourceID   string `query:"resource_id"`
	Host         string `query:"host"`
	Effect       string `query:"effect"`

	Page
}

// Allowlist lists a page of entries, oldest first. next is as of Secrets.
func (s *Store) Allowlist(ctx context.Context, a Actor, f EntryFilter) (page []api.AllowlistEntry, next string, err error) {
	var c query.Conditions
	c.Match("policy_id", f.PolicyID, "resource_type", f.ResourceType, "resource_id", f.ResourceID, "host", f.Host, "effect", f.Effect)
	return listNetwork(ctx, s, a, f.Page, c, selectEntries, func(r *entryRow) int { return len(orEmpty(r.PathGlob)) + len(orEmpty(r.Note)) + 16*len(r.Methods) },
		func(r *entryRow) (api.AllowlistEntry, time.Time, string) { return r.entry(), r.CreatedAt, r.ID })
}

// DeleteEntry deletes an entry of the allowlist. Errors: ErrNotFound, ErrDenied.
func (s *Store) DeleteEntry(ctx context.Context, a Actor, id string) error {
	return s.write(ctx, a, actEntryDelete, func(t *txn) error {
		var c query.Conditions
		c.Add("id =", id)
		c.Add("tenant_id =", t.actor.TenantID)
		t.actor.limitNetwork(&c)
		u, err := one(t, "entry", func(u *unverified[entryRow]) []any { return u.row.fields() }, selectEntries+c.String(), c.Args...)
		if err != nil {
			return err
		}
		return cmp.Or(t.Exec(`DELETE FROM allowlist WHERE id = $1`, id), t.entryChanged(actEntryDelete, &u.row))
	})
}

// networkPolicy returns what applies to the requests of a resource: its own policy, else the tenant's default, with the entries of the
// allowlist that are for the resource or for all, and for that policy or for any.
func (t *txn) networkPolicy(r api.Resource) (*api.NetworkPolicy, error) {
	p := api.DefaultPolicy()
	own, err := t.policyOf(r)
	if errors.Is(err, api.ErrNotFound) {
		own, err = t.policyOf(api.Resource{})
	}
	switch {
	case err == nil:
		p.Mode, p.DefaultEffect, p.PolicyID = own.Mode, own.DefaultEffect, own.ID
	case !errors.Is(err, api.ErrNotFound):
		return nil, err
	}
	rows, err := collect(t, (*entryRow).fields, selectEntries+` WHERE tenant_id = $1 AND (resource_id = '' OR resource_type = $2 AND resource_id = $3)
		ORDER BY created_at, id`, t.actor.TenantID, r.Type, r.ID)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if e := &rows[i]; e.PolicyID == nil || *e.PolicyID == p.PolicyID {
			p.Rules = append(p.Rules, api.NetworkRule{ID: e.ID, Host: e.Host, Effect: e.Effect, Methods: slices.Clone(e.Methods), PathGlob: orEmpty(e.PathGlob)})
		}
	}
	return &p, nil
}

// Suggestions returns the hosts of a filter's requests that no rule names. Errors: as Audit.
func (s *Store) Suggestions(ctx context.Context, a Actor, f AuditFilter) (list []api.Suggestion, err error) {
	return readMuch(ctx, s, a, actAuditRead, query.PageBytes, func(t *txn) ([]api.Suggestion, error) {
		l, err := t.auditLog()
		if err != nil {
			return nil, err
		}
		t.limitLog(l)
		policies := map[api.Resource]*api.NetworkPolicy{}
		return l.Suggest(audit.SuggestionFilter{Filter: f, Named: func(r api.Resource, host string) (_ bool, err error) {
			if policies[r] == nil {
				if policies[r], err = t.networkPolicy(r); err != nil {
					return false, err
				}
			}
			return slices.ContainsFunc(policies[r].Rules, func(rule api.NetworkRule) bool { return rule.Matches(host) }), nil
		}})
	})
}
