package audit

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

const (
	repeatTime  = time.Hour // how long repetitions are counted in one event
	maxSubjects = 64        // events of one key in that time; what comes after them is counted without its address and resource
)

// repeat is a row of audit_repeats: how often an event has happened again.
type repeat struct {
	number            int64
	keyID             string
	subject           []byte
	startedAt, lastAt int64
	count             int64
	mac               []byte
	unsaved           bool // left to Flush
}

func (r *repeat) macInput() []byte {
	return api.Frame("audit_repeats", itoa(r.number), r.keyID, string(r.subject), itoa(r.startedAt), itoa(r.lastAt), itoa(r.count))
}

// Repeat records that an event happened n times, the last time at the time of the transaction. If the same has happened within
// the last hour, it is counted in that event; otherwise it becomes a new one.
func (l *Log) Repeat(e *api.Event, n int64) error {
	subject := subjectOf(e, true)
	counted, err := l.count(e.KeyID, subject, n)
	if counted || err != nil {
		return err
	}
	known, together := l.repeats[e.KeyID]
	events := len(known)
	if !together {
		if err := l.Tx.QueryRow(`SELECT COUNT(*) FROM audit_repeats WHERE tenant_id = $1 AND key_id = $2 AND started_at > $3`,
			l.Tenant, e.KeyID, l.Now.Add(-repeatTime).UnixMicro()).Scan(&events); err != nil {
			return err
		}
	}
	if events >= maxSubjects {
		subject = subjectOf(e, false)
		if counted, err = l.count(e.KeyID, subject, n); counted || err != nil {
			return err
		}
		e.Detail = strings.TrimPrefix(e.Detail+": the first of several addresses or resources", ": ")
	}
	e.Count = n
	if err := l.Append(e); err != nil {
		return err
	}
	at := e.Timestamp.UnixMicro()
	r := &repeat{number: e.Seq, keyID: e.KeyID, subject: subject, startedAt: at, lastAt: at, count: n}
	if together {
		l.repeats[e.KeyID] = append(known, r)
	}
	return l.putRepeat(r)
}

// putRepeat inserts or updates the row of r, or leaves that to Flush.
func (l *Log) putRepeat(r *repeat) error {
	if !l.Later {
		return l.putRepeats([]*repeat{r})
	}
	if !r.unsaved {
		r.unsaved = true
		l.counted = append(l.counted, r)
	}
	return nil
}

// putRepeats inserts or updates rows.
func (l *Log) putRepeats(list []*repeat) (err error) {
	values := make([][]any, len(list))
	for i, r := range list {
		var macKeyID int64
		if r.mac, macKeyID, err = l.mac(r.macInput()); err != nil {
			return err
		}
		r.unsaved = false
		values[i] = []any{l.Tenant, r.number, r.keyID, r.subject, r.startedAt, r.lastAt, r.count, macKeyID, r.mac}
	}
	return l.insertRows(`INSERT INTO audit_repeats (tenant_id, number, key_id, subject, started_at, last_at, count, mac_key_id, mac)`,
		` ON CONFLICT (tenant_id, number) DO UPDATE SET last_at = excluded.last_at, count = excluded.count,
		mac_key_id = excluded.mac_key_id, mac = excluded.mac`, values, nil)
}

// ReadRepeats reads what Repeat needs of keys with one query. There is at least one key; keys may occur twice.
func (l *Log) ReadRepeats(keys []string) error {
	l.repeats = map[string][]*repeat{}
	var c query.Conditions
	c.Add("tenant_id =", l.Tenant)
	c.Add("started_at >", l.Now.Add(-repeatTime).UnixMicro())
	c.In("key_id", query.Padded(keys))
	for _, k := range keys {
		l.repeats[k] = nil
	}
	list, err := l.readRepeats(c.String()+` ORDER BY started_at`, c.Args...)
	for _, r := range list {
		l.repeats[r.keyID] = append(l.repeats[r.keyID], r)
	}
	return err
}

// readRepeats returns the rows that the rest of a query selects.
func (l *Log) readRepeats(rest string, args ...any) (list []*repeat, err error) {
	err = l.eachRow(`SELECT number, key_id, subject, started_at, last_at, count, mac FROM audit_repeats`+rest, args, func(rows *sql.Rows) error {
		r := &repeat{}
		list = append(list, r)
		return rows.Scan(&r.number, &r.keyID, &r.subject, &r.startedAt, &r.lastAt, &r.count, &r.mac)
	})
	return list, err
}

// find returns the newest event of a key with a subject in the last hour. Errors: sql.ErrNoRows.
func (l *Log) find(keyID string, subject []byte) (*repeat, error) {
	if known, ok := l.repeats[keyID]; ok {
		for _, r := range slices.Backward(known) {
			if bytes.Equal(r.subject, subject) {
				return r, nil
			}
		}
		return nil, sql.ErrNoRows
	}
	r := &repeat{keyID: keyID, subject: subject}
	return r, l.Tx.QueryRow(`SELECT number, started_at, last_at, count, mac FROM audit_repeats
		WHERE tenant_id = $1 AND key_id = $2 AND started_at > $3 AND subject = $4 ORDER BY started_at DESC LIMIT 1`,
		l.Tenant, keyID, l.Now.Add(-repeatTime).UnixMicro(), subject).Scan(&r.number, &r.startedAt, &r.lastAt, &r.count, &r.mac)
}

// count adds n to the event of a key with a subject, and reports whether there is one.
func (l *Log) count(keyID string, subject []byte, n int64) (bool, error) {
	r, err := l.find(keyID, subject)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !r.unsaved && !l.verify(r.mac, r.macInput()) {
		return false, nil // a new event: counting on would authenticate what was changed
	}
	r.count, r.lastAt = r.count+n, max(r.lastAt, l.Now.UnixMicro())
	return true, l.putRepeat(r)
}

// subjectOf identifies what repetitions of an event have in common: all but their time and request, and if exact, also their
// address and resource.
func subjectOf(e *api.Event, exact bool) []byte {
	parts := make([]string, 0, 10+3*len(e.Bindings))
	parts = append(parts, e.Action, e.Outcome, e.SecretID, e.BindingID, e.TargetKeyID, e.Detail)
	if exact {
		parts = append(parts, origin(e.RemoteAddr), e.ResourceType, e.ResourceID)
	}
	for _, b := range e.Bindings {
		parts = append(parts, b.ID, b.SecretID, itoa(b.Version))
	}
	sum := sha256.Sum256(api.Frame(parts...))
	return sum[:]
}

// origin returns an address, or for IPv6 its /64, which usually belongs to one host.
func origin(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.String()
}

// Reauthenticate makes at most limit MACs anew that a retired key of the keyset has made. It returns their number.
func (l *Log) Reauthenticate(limit int) (int, error) {
	batch, err := l.readRepeats(` WHERE tenant_id = $1 AND mac_key_id <> $2 LIMIT $3`, l.Tenant, l.Keys.Current(), limit)
	if err != nil {
		return 0, err
	}
	for _, r := range batch {
		if r.mac, err = l.reauthenticate(r.mac, r.macInput()); err != nil {
			return 0, err
		}
		if err := l.Tx.Defer(`UPDATE audit_repeats SET mac_key_id = $1, mac = $2 WHERE tenant_id = $3 AND number = $4`,
			l.Keys.Current(), r.mac, l.Tenant, r.number); err != nil {
			return 0, err
		}
	}
	if len(batch) > 0 {
		return len(batch), nil
	}
	return l.reauthenticateGaps(limit)
}

// reauthenticate returns the MAC of input with the current key. A mac that is wrong it returns unchanged, for Verify to find.
func (l *Log) reauthenticate(mac, input []byte) ([]byte, error) {
	if !l.Keys.Verify(mac, input) {
		return mac, nil
	}
	return l.Keys.MAC(input)
}
