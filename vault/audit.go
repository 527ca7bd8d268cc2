package vault

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// What can be audited.
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

// AuditFilter narrows the audit; zero fields match everything.
type AuditFilter struct {
	ResourceID, ResourceType, Action string
	Since, Until                     *time.Time // Since is included, Until isn't

	Limit  int    // 1 to 1000; 0: 100
	Cursor string // from the page before
}

// audit records an event in the transaction, filling in who, when and from where.
func (t *txn) audit(e api.Event) error {
	e.ID, e.TenantID, e.Timestamp = newID("evt_"), t.actor.TenantID, t.now
	e.KeyID, e.RemoteAddr, e.RequestID = t.actor.KeyID, t.actor.RemoteAddr, t.actor.RequestID
	if e.Outcome == "" {
		e.Outcome = api.OutcomeOK
	}
	return t.insertEvent(e)
}

func (t *txn) insertEvent(e api.Event) error {
	refs := ""
	if len(e.Bindings) > 0 {
		refs = string(appendRefs(nil, e.Bindings))
	}
	err := t.Exec(`INSERT INTO audit (id, tenant_id, at, action, outcome, key_id, secret_id, binding_id,
		target_key_id, resource_type, resource_id, version, bindings, detail, remote_addr, request_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		e.ID, e.TenantID, e.Timestamp.UnixMicro(), e.Action, e.Outcome, e.KeyID, e.SecretID, e.BindingID,
		e.TargetKeyID, e.ResourceType, e.ResourceID, e.Version, refs, e.Detail, e.RemoteAddr, e.RequestID)
	if err != nil {
		return &unaudited{e.Action, err}
	}
	return nil
}

// unaudited says that an event couldn't be written, so that what it is of is refused, for now.
type unaudited struct {
	action string
	err    error
}

func (u *unaudited) Error() string { return "audit " + u.action + ": " + u.err.Error() }
func (u *unaudited) Unwrap() error { return u.err }

// appendRefs appends refs as JSON. Their ids are our own: nothing in them needs escaping.
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

// deny refuses a call with ErrDenied and audits the attempt. An attempt that can't be audited is
// refused all the same.
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

// tenantOnly refuses calls that only a tenant key may make.
func (s *Store) tenantOnly(ctx context.Context, a Actor, action string) error {
	if a.Resource == nil {
		return nil
	}
	return s.deny(ctx, a, api.Event{Action: action, ResourceType: a.Resource.Type, ResourceID: a.Resource.ID},
		"a resource key may only list and reveal its own resource's bindings")
}

const eventColumns = `seq, id, tenant_id, at, action, outcome, key_id, secret_id, binding_id, target_key_id,
	resource_type, resource_id, version, bindings, detail, remote_addr, request_id`

func scanEvent(from interface{ Scan(...any) error }) (e api.Event, seq int64, err error) {
	var at int64
	var refs string
	err = from.Scan(&seq, &e.ID, &e.TenantID, &at, &e.Action, &e.Outcome, &e.KeyID, &e.SecretID, &e.BindingID, &e.TargetKeyID,
		&e.ResourceType, &e.ResourceID, &e.Version, &refs, &e.Detail, &e.RemoteAddr, &e.RequestID)
	if err != nil {
		return api.Event{}, 0, err
	}
	e.Timestamp = fromMicros(at)
	if refs != "" {
		if err := json.Unmarshal([]byte(refs), &e.Bindings); err != nil {
			return api.Event{}, 0, fmt.Errorf("read event %s: %w", e.ID, err)
		}
	}
	return e, seq, nil
}

// Audit lists events: the newest first, or, with Since, the oldest first, so that a reader who
// follows along misses nothing. next is the cursor of the following page, "" at the end.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Audit(ctx context.Context, a Actor, f AuditFilter) (events []api.Event, next string, err error) {
	if err := s.tenantOnly(ctx, a, actAuditRead); err != nil {
		return nil, "", err
	}
	limit, err := pageSize(f.Limit, defaultPage)
	if err != nil {
		return nil, "", err
	}
	forward := f.Since != nil
	after := int64(-1)
	if f.Cursor != "" {
		if forward, after, err = parseAuditCursor(f.Cursor); err != nil {
			return nil, "", err
		}
	}
	q := where{}
	q.equal("tenant_id", a.TenantID)
	q.equalIfSet("resource_type", f.ResourceType)
	q.equalIfSet("resource_id", f.ResourceID)
	q.equalIfSet("action", f.Action)
	if f.Since != nil {
		q.compare("at >=", f.Since.UnixMicro())
	}
	if f.Until != nil {
		q.compare("at <", f.Until.UnixMicro())
	}
	order := " ORDER BY seq DESC"
	if forward {
		order = " ORDER BY seq"
	}
	if after >= 0 && forward {
		q.compare("seq >", after)
	} else if after >= 0 {
		q.compare("seq <", after)
	}
	query := `SELECT ` + eventColumns + ` FROM audit` + q.String() + order + ` LIMIT ` + strconv.Itoa(limit+1)
	events = []api.Event{}
	err = s.read(ctx, a, func(t *txn) error {
		events, next = events[:0], ""
		rows, err := t.Query(query, q.args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		var last int64
		for rows.Next() {
			e, seq, err := scanEvent(rows)
			if err != nil {
				return err
			}
			if len(events) == limit {
				next = auditCursor(forward, last)
				break
			}
			events, last = append(events, e), seq
		}
		return rows.Err()
	})
	return events, next, err
}

// AuditEvent returns one event. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) AuditEvent(ctx context.Context, a Actor, id string) (e api.Event, err error) {
	if err := s.tenantOnly(ctx, a, actAuditRead); err != nil {
		return api.Event{}, err
	}
	err = s.read(ctx, a, func(t *txn) error {
		e, _, err = scanEvent(t.QueryRow(
			`SELECT `+eventColumns+` FROM audit WHERE id = $1 AND tenant_id = $2`, id, a.TenantID))
		if errors.Is(err, sql.ErrNoRows) {
			return api.NewError(api.ErrNotFound, "no such event")
		}
		return err
	})
	return e, err
}

// auditCursor is opaque to clients: the direction, then where the page ended.
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
