package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// The actions that are audited.
const (
	actSecretCreate  = "secret.create"
	actSecretReplace = "secret.replace"
	actSecretRotate  = "secret.rotate"
	actSecretDelete  = "secret.delete"
	actBindingCreate = "binding.create"
	actBindingDelete = "binding.delete"
	actBindingList   = "binding.list" // denied attempts only
	actReveal        = "reveal"
	actOAuthStart    = "oauth.start"
	actOAuthCallback = "oauth.callback" // a flow ended; what it stored has events of its own
	actOAuthRefresh  = "oauth.refresh"  // one that gave no token; others are secret.rotate
	actOAuthRead     = "oauth.read"     // denied attempts only
	actKeyCreate     = "key.create"
	actKeyReplace    = "key.replace" // the key has a successor, and ends later
	actKeyRevoke     = "key.revoke"
	actKeysRotate    = "keys.rotate" // new rows use a new data key
	actKeysRetire    = "keys.retire" // all rows use the new data key; the old ones were deleted
	actRootRotate    = "root.rotate" // the tenant's keyset is wrapped with a new root key
	// Reads are not audited, except those that a key may not make.
	actSecretRead = "secret.read"
	actAuditRead  = "audit.read"
	actKeyRead    = "key.read"
)

// AuditFilter selects events; zero fields match everything.
type AuditFilter struct {
	ResourceID   string     `query:"resource_id"`
	ResourceType string     `query:"resource_type"`
	Action       string     `query:"action"`
	Since        *time.Time `query:"since"` // inclusive
	Until        *time.Time `query:"until"` // exclusive

	Limit  int    `query:"limit"`  // 1 to 1000; 0: 100
	Cursor string `query:"cursor"` // from the page before
}

// eventRow is an event as it is stored. seq orders events.
type eventRow struct {
	api.Event
	seq int64
}

// columns are those that are written: the database sets seq.
func (e *eventRow) columns() columns {
	return columns{
		{"id", &e.ID}, {"tenant_id", &e.TenantID}, {"at", &e.Timestamp}, {"action", &e.Action}, {"outcome", &e.Outcome},
		{"key_id", &e.KeyID}, {"secret_id", &e.SecretID}, {"binding_id", &e.BindingID}, {"target_key_id", &e.TargetKeyID},
		{"resource_type", &e.ResourceType}, {"resource_id", &e.ResourceID}, {"version", &e.Version},
		{"bindings", &e.Bindings}, {"detail", &e.Detail}, {"remote_addr", &e.RemoteAddr}, {"request_id", &e.RequestID},
	}
}

func (e *eventRow) fields() []any { return append(e.columns().fields(), &e.seq) }

var selectEvents = `SELECT ` + new(eventRow).columns().names("") + `, seq FROM audit`

// audit records an event in the transaction, with its time, key, address and request.
func (t *txn) audit(event api.Event) error {
	e := eventRow{Event: event}
	e.ID, e.TenantID, e.Timestamp = newID("evt_"), t.actor.TenantID, t.now
	e.KeyID, e.RemoteAddr, e.RequestID = t.actor.KeyID, t.actor.RemoteAddr, t.actor.RequestID
	e.Outcome = cmp.Or(e.Outcome, api.OutcomeOK)
	if err := t.insert("audit", e.columns()); err != nil {
		return fmt.Errorf("%w %s: %w", errUnaudited, e.Action, err)
	}
	return nil
}

// errUnaudited is the error of an event that couldn't be written, so the change it records is refused.
var errUnaudited = errors.New("audit")

// deny returns ErrDenied and audits the attempt. An attempt that can't be audited is denied too.
func (s *Store) deny(ctx context.Context, a Actor, action string, r api.Resource, message string) error {
	err := s.write(ctx, a, anyKey, func(t *txn) error {
		return t.audit(api.Event{Action: action, Outcome: api.OutcomeDenied, ResourceType: r.Type, ResourceID: r.ID})
	})
	if errors.Is(err, api.ErrUnauthorized) {
		return err
	}
	if err != nil {
		s.log.Error().Err(err).Str("action", action).Msg("denied attempt not audited")
	}
	return api.NewError(api.ErrDenied, message)
}

// Permit returns ErrDenied, and audits the attempt on r, if action isn't for keys of the actor's kind, or not among the
// actor's permissions: resource keys list and reveal bindings, tenant keys do everything but reveal.
func (s *Store) Permit(ctx context.Context, a Actor, action string, r api.Resource) error {
	switch {
	case a.isTenant() && action == actReveal:
		return s.deny(ctx, a, action, r, "a tenant key can't reveal: use a resource key")
	case a.isTenant() && a.refusal(action) != "":
		return s.deny(ctx, a, action, r, a.refusal(action))
	case a.isTenant(), action == actReveal, action == actBindingList, action == anyKey:
		return nil
	}
	return s.deny(ctx, a, action, r, "a resource key may only list and reveal its own resource's bindings")
}

// Audit lists events: the newest first, or with Since the oldest first, so that a reader that follows
// the audit misses nothing. next is the cursor of the next page, "" at the end.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Audit(ctx context.Context, a Actor, f AuditFilter) (events []api.Event, next string, err error) {
	events, err = read(ctx, s, a, actAuditRead, func(t *txn) ([]api.Event, error) {
		limit, err := pageSize(f.Limit)
		if err != nil {
			return nil, err
		}
		var c conditions
		c.add("tenant_id =", a.TenantID)
		c.match("resource_type", f.ResourceType, "resource_id", f.ResourceID, "action", f.Action)
		t.actor.limitEvents(&c)
		direction := backward
		if f.Since != nil {
			direction = forward
			c.add("at >=", f.Since.UnixMicro())
		}
		if f.Until != nil {
			c.add("at <", f.Until.UnixMicro())
		}
		if f.Cursor != "" {
			var after int64
			if direction, after, err = parseAuditCursor(f.Cursor); err != nil {
				return nil, err
			}
			c.add("seq "+direction.after, after)
		}
		rows, err := collect(t, (*eventRow).fields,
			selectEvents+c.String()+` ORDER BY seq`+direction.order+` LIMIT `+strconv.Itoa(limit+1), c.args...)
		rows, next = page(rows, limit, func(r *eventRow) string { return direction.name + strconv.FormatInt(r.seq, 36) })
		events := make([]api.Event, len(rows))
		for i := range rows {
			events[i] = rows[i].Event
		}
		return events, err
	})
	return events, next, err
}

// AuditEvent returns one event. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) AuditEvent(ctx context.Context, a Actor, id string) (api.Event, error) {
	return read(ctx, s, a, actAuditRead, func(t *txn) (api.Event, error) {
		var c conditions
		c.add("id =", id)
		c.add("tenant_id =", a.TenantID)
		t.actor.limitEvents(&c)
		e, err := one(t, "event", (*eventRow).fields, selectEvents+c.String(), c.args...)
		return e.Event, err
	})
}

// auditOrder is the order of a list. Its name and the number of a page's last event are the cursor of the next page.
type auditOrder struct{ name, after, order string }

var (
	forward  = auditOrder{"f", ">", ""}
	backward = auditOrder{"b", "<", " DESC"}
)

func parseAuditCursor(c string) (auditOrder, int64, error) {
	seq, err := strconv.ParseInt(c[1:], 36, 64)
	for _, o := range []auditOrder{forward, backward} {
		if err == nil && seq >= 0 && c[:1] == o.name {
			return o, seq, nil
		}
	}
	return auditOrder{}, 0, errCursor
}
