package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
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
	actKeyRevoke     = "key.revoke"
	actKeysRotate    = "keys.rotate" // a new data key seals from now on
	actKeysRetire    = "keys.retire" // every row is under it, the old ones are gone
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
	seq  int64
	refs string // Bindings in JSON; "" if there are none
}

func (e *eventRow) columns() columns {
	return columns{
		{"id", &e.ID}, {"tenant_id", &e.TenantID}, {"at", instant{&e.Timestamp}}, {"action", &e.Action}, {"outcome", &e.Outcome},
		{"key_id", &e.KeyID}, {"secret_id", &e.SecretID}, {"binding_id", &e.BindingID}, {"target_key_id", &e.TargetKeyID},
		{"resource_type", &e.ResourceType}, {"resource_id", &e.ResourceID}, {"version", &e.Version},
		{"bindings", &e.refs}, {"detail", &e.Detail}, {"remote_addr", &e.RemoteAddr}, {"request_id", &e.RequestID},
	}
}

var eventColumns = "seq, " + new(eventRow).columns().names()

// scan reads eventColumns.
func (e *eventRow) scan(from database.Row) error {
	if err := from.Scan(append([]any{&e.seq}, e.columns().fields()...)...); err != nil {
		return err
	}
	if len(e.refs) > 0 {
		if err := json.Unmarshal([]byte(e.refs), &e.Bindings); err != nil {
			return fmt.Errorf("read event %s: %w", e.ID, err)
		}
	}
	return nil
}

// audit records an event in the transaction, with its time, key, address and request.
func (t *txn) audit(event api.Event) error {
	e := eventRow{Event: event}
	e.ID, e.TenantID, e.Timestamp = newID("evt_"), t.actor.TenantID, t.now
	e.KeyID, e.RemoteAddr, e.RequestID = t.actor.KeyID, t.actor.RemoteAddr, t.actor.RequestID
	e.Outcome = cmp.Or(e.Outcome, api.OutcomeOK)
	if len(e.Bindings) > 0 {
		e.refs = string(appendRefs(nil, e.Bindings))
	}
	if err := t.insert("audit", e.columns()); err != nil {
		return &unaudited{e.Action, err}
	}
	return nil
}

// unaudited is an event that couldn't be written, so the change it records is refused.
type unaudited struct {
	action string
	err    error
}

func (u *unaudited) Error() string { return "audit " + u.action + ": " + u.err.Error() }
func (u *unaudited) Unwrap() error { return u.err }

// appendRefs appends refs as JSON. Ids need no escaping: the store generates them.
func appendRefs(b []byte, refs []api.EventRef) []byte {
	b = append(slices.Grow(b, 96*len(refs)), '[')
	for i, r := range refs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = append(b, r.ID...)
		b = append(b, `","secret_id":"`...)
		b = append(b, r.SecretID...)
		b = append(b, `","version":`...)
		b = strconv.AppendInt(b, r.Version, 10)
		b = append(b, '}')
	}
	return append(b, ']')
}

// deny returns ErrDenied and audits the attempt. An attempt that can't be audited is denied too.
func (s *Store) deny(ctx context.Context, a Actor, e api.Event, message string) error {
	e.Outcome = api.OutcomeDenied
	err := s.write(ctx, a, func(t *txn) error { return t.audit(e) })
	if errors.Is(err, api.ErrUnauthorized) {
		return err
	}
	if err != nil {
		s.log.Error().Err(err).Str("action", e.Action).Msg("denied attempt not audited")
	}
	return api.NewError(api.ErrDenied, message)
}

// TenantOnly returns ErrDenied for a resource key, and audits the attempt as action.
func (s *Store) TenantOnly(ctx context.Context, a Actor, action string) error {
	if a.Resource == nil {
		return nil
	}
	return s.deny(ctx, a, api.Event{Action: action, ResourceType: a.Resource.Type, ResourceID: a.Resource.ID},
		"a resource key may only list and reveal its own resource's bindings")
}

// ResourceOnly returns ErrDenied for a tenant key, and audits the attempt as action.
func (s *Store) ResourceOnly(ctx context.Context, a Actor, action string) error {
	if a.Resource != nil {
		return nil
	}
	return s.deny(ctx, a, api.Event{Action: action}, "a tenant key reads no value: reveal with a resource key")
}

// Audit lists events: the newest first, or with Since the oldest first, so that a reader that follows
// the audit misses nothing. next is the cursor of the next page, "" at the end.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Audit(ctx context.Context, a Actor, f AuditFilter) (events []api.Event, next string, err error) {
	if err := s.TenantOnly(ctx, a, actAuditRead); err != nil {
		return nil, "", err
	}
	limit, err := pageSize(f.Limit)
	if err != nil {
		return nil, "", err
	}
	var c conditions
	c.equal("tenant_id", a.TenantID)
	c.equalIfSet("resource_type", f.ResourceType)
	c.equalIfSet("resource_id", f.ResourceID)
	c.equalIfSet("action", f.Action)
	if f.Since != nil {
		c.compare("at >=", f.Since.UnixMicro())
	}
	if f.Until != nil {
		c.compare("at <", f.Until.UnixMicro())
	}
	forward := f.Since != nil
	if f.Cursor != "" {
		var after int64
		if forward, after, err = parseAuditCursor(f.Cursor); err != nil {
			return nil, "", err
		}
		c.compare(map[bool]string{true: "seq >", false: "seq <"}[forward], after)
	}
	order := map[bool]string{true: "", false: " DESC"}[forward]
	query := `SELECT ` + eventColumns + ` FROM audit` + c.String() + ` ORDER BY seq` + order + ` LIMIT ` + strconv.Itoa(limit+1)
	err = s.read(ctx, a, func(t *txn) error {
		events, next = []api.Event{}, ""
		rows, err := collect(t, (*eventRow).scan, query, c.args...)
		if len(rows) > limit {
			rows = rows[:limit]
			next = auditCursor(forward, rows[limit-1].seq)
		}
		for _, r := range rows {
			events = append(events, r.Event)
		}
		return err
	})
	return events, next, err
}

// AuditEvent returns one event. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) AuditEvent(ctx context.Context, a Actor, id string) (api.Event, error) {
	if err := s.TenantOnly(ctx, a, actAuditRead); err != nil {
		return api.Event{}, err
	}
	var e eventRow
	err := s.read(ctx, a, func(t *txn) (err error) {
		err = e.scan(t.QueryRow(`SELECT `+eventColumns+` FROM audit WHERE id = $1 AND tenant_id = $2`, id, a.TenantID))
		if errors.Is(err, sql.ErrNoRows) {
			return api.NewError(api.ErrNotFound, "no such event")
		}
		return err
	})
	return e.Event, err
}

// auditCursor is the direction, and where the page ended. It is opaque to clients.
func auditCursor(forward bool, seq int64) string {
	if forward {
		return "f" + strconv.FormatInt(seq, 36)
	}
	return "b" + strconv.FormatInt(seq, 36)
}

func parseAuditCursor(c string) (forward bool, seq int64, err error) {
	seq, err = strconv.ParseInt(c[1:], 36, 64)
	if err != nil || seq < 0 || c[0] != 'f' && c[0] != 'b' {
		return false, 0, errCursor
	}
	return c[0] == 'f', seq, nil
}
