package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// BindingFilter selects bindings by exact matches; "" matches everything.
type BindingFilter struct {
	ResourceID   string `query:"resource_id"`
	ResourceType string `query:"resource_type"`
	SecretID     string `query:"secret_id"`

	Page
}

// CreateBinding binds a secret to a resource. If the same binding exists, it is returned, with created false.
// Errors: ErrInvalid, ErrNotFound (the secret), ErrConflict (the name is bound to another secret, or the binding
// has another delivery or egress rule), ErrDenied for a resource key.
func (s *Store) CreateBinding(ctx context.Context, a Actor, n api.NewBinding) (b api.Binding, created bool, err error) {
	err = s.change(ctx, a, actBindingCreate, 0, checkBinding(n), func(t *txn) error {
		b, created, err = t.bind(n)
		return err
	})
	return b, created, err
}

var errNameTaken = api.NewError(api.ErrConflict,
	"expose_as_env is bound to another secret on this resource: delete that binding first")

func checkBinding(n api.NewBinding) error {
	if n.SecretID == "" {
		return invalid("secret_id is required")
	}
	if n.ExposeAsEnv == "" {
		return invalid("expose_as_env is required")
	}
	return cmp.Or(n.Resource.Validate(), checkEnvName(n.ExposeAsEnv), checkDelivery(n.Delivery), checkRule(n.Egress))
}

// bind is CreateBinding in a transaction, for a binding that was checked.
func (t *txn) bind(n api.NewBinding) (b api.Binding, created bool, err error) {
	if err := cmp.Or(t.mayDo(actBindingCreate, n.Resource), t.mayUseResource(actBindingCreate, n.Resource)); err != nil {
		return b, false, err
	}
	secret, err := t.secret(n.SecretID)
	if err != nil {
		return b, false, err
	}
	bound, err := one(t, "binding", (*bindingRow).fields, selectBindings+` WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3
		AND b.env_name = $4`, t.actor.TenantID, n.Type, n.ID, n.ExposeAsEnv)
	b = bound.answer()
	switch {
	case err == nil && b.SecretID != n.SecretID:
		return b, false, errNameTaken
	case err == nil && n.Delivery != "" && n.Delivery != b.Delivery:
		return b, false, api.NewError(api.ErrConflict, "this binding has another delivery: delete it first")
	case err == nil && n.Egress != nil && newRule(n.Egress) != bound.rule:
		return b, false, api.NewError(api.ErrConflict, "this binding has another egress rule: change it")
	case !errors.Is(err, api.ErrNotFound): // nil: it exists
		return b, false, err
	}
	rule := newRule(n.Egress)
	added := bindingRow{tenant: t.actor.TenantID, rule: rule, Binding: api.Binding{
		ID: newID("bnd_"), SecretID: n.SecretID, Resource: n.Resource, ExposeAsEnv: n.ExposeAsEnv,
		PlaceholderToken: newPlaceholder(secret.rule, rule), Delivery: cmp.Or(n.Delivery, api.DeliverValue), CreatedAt: t.now,
		SecretName: secret.Name, Version: secret.Version, UpdatedAt: secret.UpdatedAt, ExpiresAt: secret.ExpiresAt,
	}}
	if err := t.authenticate(&added); err != nil {
		return b, false, err
	}
	if err := cmp.Or(t.insert("bindings", added.stored()), t.use(usage{bindings: 1, bytes: int64(len(rule))})); err != nil {
		return b, false, err
	}
	if err := t.checkSet(n.Resource); err != nil {
		return b, false, err
	}
	t.wake(added.Resource)
	return added.answer(), true, t.auditBinding(actBindingCreate, &added)
}

// labelBytes is more than the label of a binding takes in a set; a placeholder beside it takes less too.
const labelBytes = 1 << 10

// policyBytes is more than the network policy takes in a broker's set: a thousand entries with long hosts and paths.
const policyBytes = 1 << 20

// largestSet is a query of a set of more than most bytes, an agent's or a broker's. Resources are compared as rows: for a join,
// SQLite would read all bindings of the tenant, whose id is parameter n, in the order of the groups.
func largestSet(resources, n string, most int) string {
	label := strconv.Itoa(labelBytes)
	agents := `SUM(` + label + ` + CASE WHEN b.delivery <> 'placeholder' THEN OCTET_LENGTH(s.value) ELSE 0 END)`
	brokers := strconv.Itoa(policyBytes) + ` + SUM(CASE WHEN b.delivery = 'placeholder' THEN 2 * ` + label + ` + OCTET_LENGTH(s.value) + OCTET_LENGTH(s.egress) + OCTET_LENGTH(b.egress) ELSE 0 END)`
	size := `CASE WHEN ` + agents + ` > ` + brokers + ` THEN ` + agents + ` ELSE ` + brokers + ` END`
	return `SELECT b.resource_type, b.resource_id, ` + size + `
		FROM bindings b JOIN secrets s ON s.id = b.secret_id
		WHERE b.tenant_id = $` + n + ` AND (b.resource_type, b.resource_id) IN (` + resources + `)
		GROUP BY b.resource_type, b.resource_id HAVING ` + size + ` > ` + strconv.Itoa(most) + ` LIMIT 1`
}

// checkSets returns ErrInvalid if the set of a resource, among those that a query lists as resource_type and resource_id, is
// larger than clients accept.
func (t *txn) checkSets(resources string, args ...any) error {
	// An answer has the set in base64.
	const most = api.MaxRevealAnswer/4*3 - 4<<10
	n := strconv.Itoa(len(args) + 1)
	var r api.Resource
	var size int64
	err := t.QueryRow(largestSet(resources, n, most), append(args, t.actor.TenantID)...).Scan(&r.Type, &r.ID, &size)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return invalid(fmt.Sprintf("the set of %s would have %d bytes, more than the %d that clients accept: unbind something there, or store shorter values", r, size, most))
}

// checkSet is checkSets for one resource.
func (t *txn) checkSet(r api.Resource) error {
	return t.checkSets(`SELECT CAST($1 AS TEXT) AS resource_type, CAST($2 AS TEXT) AS resource_id`, r.Type, r.ID)
}

// bindingRow is a binding as it is stored.
type bindingRow struct {
	api.Binding // SecretName, Version, UpdatedAt and ExpiresAt are its secret's; Egress is nil until answer
	tenant      string
	rule        storedRule
	rowMAC
}

// answer is a binding as the API returns it.
func (b *bindingRow) answer() api.Binding {
	b.Egress = b.rule.rule()
	return b.Binding
}

func (b *bindingRow) columns() columns {
	return columns{
		{"id", &b.ID}, {"secret_id", &b.SecretID}, {"resource_type", &b.Type}, {"resource_id", &b.Resource.ID},
		{"env_name", &b.ExposeAsEnv}, {"placeholder_token", &b.PlaceholderToken}, {"delivery", &b.Delivery},
		{"created_at", &b.CreatedAt}, {"tenant_id", &b.tenant},
	}
}

func (b *bindingRow) stored() columns {
	return append(b.columns(), b.rule.column(), b.rowMAC.column())
}

func (b *bindingRow) covered() (table, tenant, id string, c columns) {
	return "bindings", b.tenant, b.ID, b.rule.covered(b.columns())
}

func (t *txn) auditBinding(action string, b *bindingRow) error {
	e := api.Event{Action: action, BindingID: b.ID, SecretID: b.SecretID, Version: b.Version, ResourceType: b.Type, ResourceID: b.Resource.ID}
	if b.rule != "" || action == actBindingRule {
		e.Detail = b.rule.detail()
	}
	return t.audit(e)
}

// usedBindings returns those of some bindings that exist, by their ids, for the reports of the actor's broker.
func (t *txn) usedBindings(ids []string) (map[string]audit.UsedBinding, error) {
	var c query.Conditions
	c.Add("b.tenant_id =", t.actor.TenantID)
	c.In("b.id", query.Padded(ids))
	type row struct {
		audit.UsedBinding
		id, delivery, scope string
	}
	rows, err := collect(t, func(r *row) []any {
		return []any{&r.id, &r.Type, &r.ID, &r.SecretID, &r.delivery, &r.scope, &r.ExternalUserID, &r.ExternalWorkspaceID}
	}, `SELECT b.id, b.resource_type, b.resource_id, b.secret_id, b.delivery, s.scope, s.external_user_id, s.external_workspace_id
		FROM bindings b JOIN secrets s ON s.id = b.secret_id`+c.String(), c.Args...)
	used := map[string]audit.UsedBinding{}
	for _, r := range rows {
		if r.delivery != api.DeliverPlaceholder || !t.actor.maySee(r.scope) { // the broker doesn't get its value
			r.UsedBinding = audit.UsedBinding{Resource: r.Resource}
		}
		used[r.id] = r.UsedBinding
	}
	return used, err
}

var selectBindings = `SELECT ` + new(bindingRow).stored().names("b.") + `, s.name, s.version, s.updated_at, s.expires_at
	FROM bindings b JOIN secrets s ON s.id = b.secret_id`

func (b *bindingRow) fields() []any {
	return append(b.stored().fields(), &b.SecretName, &b.Version, stored{&b.UpdatedAt}, stored{&b.ExpiresAt})
}

// Bindings lists a page of bindings, by resource and variable name, with the columns of their secrets. next is as of Secrets. A
// resource key gets those of its own resource only; for another one it gets ErrDenied, which is audited.
func (s *Store) Bindings(ctx context.Context, a Actor, f BindingFilter) (page []api.Binding, next string, err error) {
	if own := a.Resource; a.isResource() {
		if f.ResourceType != "" && f.ResourceType != own.Type || f.ResourceID != "" && f.ResourceID != own.ID {
			return nil, "", s.deny(ctx, a, actBindingList, api.Resource{Type: clip(f.ResourceType), ID: clip(f.ResourceID)}, otherResource)
		}
		f.ResourceType, f.ResourceID = own.Type, own.ID
	}
	page, err = readMuch(ctx, s, a, actBindingList, query.PageBytes, func(t *txn) ([]api.Binding, error) {
		var c query.Conditions
		c.Match("b.resource_type", f.ResourceType, "b.resource_id", f.ResourceID, "b.secret_id", f.SecretID)
		c.Add("b.tenant_id =", a.TenantID)
		t.actor.limitBindings(&c)
		if err := afterBinding(&c, f.Cursor); err != nil {
			return nil, err
		}
		var rows []bindingRow
		rows, next, err = list(t, f.Page, (*bindingRow).fields, func(b *bindingRow) int { return len(b.rule) }, bindingCursor,
			selectBindings+c.String()+` ORDER BY b.resource_type, b.resource_id, b.env_name`, c.Args...)
		page := make([]api.Binding, len(rows))
		for i := range rows {
			page[i] = rows[i].answer()
		}
		return page, err
	})
	return page, next, err
}

// bindingCursor identifies the last binding of a page, for afterBinding.
func bindingCursor(b *bindingRow) string {
	return base64.RawURLEncoding.EncodeToString([]byte(b.Type + " " + b.Resource.ID + " " + b.ExposeAsEnv))
}

// afterBinding selects the bindings after a cursor.
func afterBinding(c *query.Conditions, cursor string) error {
	if cursor == "" {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(text), " ")
	if err != nil || len(parts) != 3 {
		return query.ErrCursor
	}
	n := len(c.Args)
	c.Args = append(c.Args, parts[0], parts[1], parts[2])
	c.Terms = append(c.Terms, fmt.Sprintf("(b.resource_type, b.resource_id, b.env_name) > ($%d, $%d, $%d)", n+1, n+2, n+3))
	return nil
}

const otherResource = "this key belongs to another resource"

// clip limits the length of what a denied client sent, for the audit.
func clip(s string) string {
	const longest = 128
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// ofBinding selects a binding b if the actor may see it.
func (t *txn) ofBinding(id string) (c query.Conditions) {
	c.Add("b.id =", id)
	c.Add("b.tenant_id =", t.actor.TenantID)
	t.actor.limitBindings(&c)
	return c
}

// DeleteBinding unbinds. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) DeleteBinding(ctx context.Context, a Actor, id string) error {
	return s.write(ctx, a, actBindingDelete, func(t *txn) error {
		c := t.ofBinding(id)
		read, err := one(t, "binding", func(u *unverified[bindingRow]) []any { return u.row.fields() }, selectBindings+c.String(), c.Args...)
		if err != nil {
			return err
		}
		b := &read.row // whatever its mac: an altered binding can be deleted too
		if err := cmp.Or(t.Exec(`DELETE FROM bindings WHERE id = $1`, id), t.use(usage{bindings: -1, bytes: -int64(len(b.rule))})); err != nil {
			return err
		}
		t.wake(b.Resource)
		return t.auditBinding(actBindingDelete, b)
	})
}

// smallSet is the size of a set, in bytes, that is read without reserving memory for it.
const smallSet = 64 << 10

// largeSet is the error of a set that needs memory.
type largeSet struct{ size int64 }

func (*largeSet) Error() string { return "the set is large" }

// labelMemory is about the number of bytes that a binding takes in the cache, without its value.
const labelMemory = 512

// size is about the number of bytes that the set takes in the cache.
func (s boundSet) size() int {
	size := labelMemory
	for _, r := range s.rows {
		size += labelMemory + len(r.sealed) + r.rules
	}
	if s.policy != nil {
		size += labelMemory * len(s.policy.Rules)
	}
	return size
}

// setSize is the size of the set of a resource, by the resource's id.
type setSize struct {
	id               string
	bindings, values int64 // their number, and the bytes of their values
}

// memory is about the number of bytes that the set takes.
func (s setSize) memory() int64 { return labelMemory*(1+s.bindings) + s.values }

// setSizes returns the sizes of the sets of resources of a type, without reading them. Empty sets are missing.
func (t *txn) setSizes(kind string, ids []string) ([]setSize, error) {
	c := t.ofResources(kind, ids)
	values := `CASE WHEN b.delivery <> 'placeholder' THEN OCTET_LENGTH(s.value) END`
	if t.actor.broker {
		values = `OCTET_LENGTH(s.value) + OCTET_LENGTH(s.egress) + OCTET_LENGTH(b.egress)`
	}
	return collect(t, func(s *setSize) []any { return []any{&s.id, &s.bindings, &s.values} }, `SELECT b.resource_id, COUNT(*),
		COALESCE(SUM(`+values+`), 0)
		FROM bindings b JOIN secrets s ON s.id = b.secret_id`+c.String()+` GROUP BY b.resource_id`, c.Args...)
}
