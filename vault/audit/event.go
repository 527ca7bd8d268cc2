package audit

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// newID returns the id of an event: its time in milliseconds, and 85 random bits. So ids of one time are close together in the database's index.
func newID(at time.Time) string {
	const random = 17
	return "evt_" + strconv.FormatInt(at.UnixMilli(), 32) + strings.ToLower(rand.Text()[:random])
}

// insertColumns are those that insert sets, in the order of insertValues.
const insertColumns = `id, tenant_id, at, action, outcome, key_id, secret_id, binding_id, target_key_id, resource_type, resource_id, version, bindings,
	detail, remote_addr, request_id, host, method, path, status_code, effect, policy_id, rule_id, occurred_at, external_user_id, external_workspace_id,
	number, hash, repeats`

func insertValues(e *api.Event, hash []byte) []any {
	return []any{e.ID, e.TenantID, e.Timestamp.UnixMicro(), e.Action, e.Outcome, e.KeyID, e.SecretID, e.BindingID, e.TargetKeyID, e.ResourceType,
		e.ResourceID, e.Version, bindingsText(e.Bindings), e.Detail, e.RemoteAddr, e.RequestID, e.Host, e.Method, e.Path, e.StatusCode, e.Effect,
		e.PolicyID, e.RuleID, toMicros(e.OccurredAt), e.ExternalUserID, e.ExternalWorkspaceID, e.Seq, hash, min(e.Count, 1)}
}

// linked is an event with its hash in the chain.
type linked struct {
	*api.Event
	hash []byte
}

// rowsTogether is how many rows one statement inserts, if the database is remote, or a power of four below it: servers keep few statements
// prepared. SQLite takes longer for many parameters, by the square of their number.
const rowsTogether = 64

// insertRows inserts rows with values, by statements that begin with into and end with suffix. It calls each for each row that the
// statements return; nil: they return none.
func (l *Log) insertRows(into, suffix string, values [][]any, each func(*sql.Rows) error) error {
	for len(values) > 0 {
		n := 1
		if l.Remote {
			n = rowsTogether
		}
		for n > len(values) {
			n /= 4
		}
		var statement strings.Builder
		statement.WriteString(into)
		args := make([]any, 0, n*len(values[0]))
		for i, row := range values[:n] {
			if i == 0 {
				statement.WriteString(" VALUES (")
			} else {
				statement.WriteString(", (")
			}
			for k := range row {
				if k > 0 {
					statement.WriteByte(',')
				}
				statement.WriteByte('$')
				statement.WriteString(strconv.Itoa(len(args) + k + 1))
			}
			statement.WriteByte(')')
			args = append(args, row...)
		}
		values = values[n:]
		statement.WriteString(suffix)
		var err error
		if each == nil {
			err = l.Tx.Defer(statement.String(), args...)
		} else {
			err = l.eachRow(statement.String(), args, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachRow calls each with the rows of a query.
func (l *Log) eachRow(query string, args []any, each func(*sql.Rows) error) error {
	rows, err := l.Tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// insert inserts events.
func (l *Log) insert(events []linked) error {
	values := make([][]any, len(events))
	for i, e := range events {
		values[i] = insertValues(e.Event, e.hash)
	}
	rowOf := map[int64]int64{} // seq of the row, by number in the chain
	err := l.insertRows(`INSERT INTO audit (`+insertColumns+`)`, ` RETURNING number, seq`, values, func(rows *sql.Rows) error {
		var number, seq int64
		err := rows.Scan(&number, &seq)
		rowOf[number] = seq
		return err
	})
	if err != nil {
		return err
	}
	var secrets [][]any
	for _, e := range events {
		for _, id := range secretsOf(e.Event) {
			secrets = append(secrets, []any{l.Tenant, id, e.Timestamp.UnixMicro(), rowOf[e.Seq]})
		}
	}
	return l.insertRows(`INSERT INTO audit_secrets (tenant_id, secret_id, at, seq)`, "", secrets, nil)
}

// secretsOf returns the secrets of an event, each once.
func secretsOf(e *api.Event) []string {
	if e.SecretID == "" && len(e.Bindings) == 0 {
		return nil
	}
	secrets := make([]string, 0, 1+len(e.Bindings))
	if e.SecretID != "" {
		secrets = append(secrets, e.SecretID)
	}
	for _, b := range e.Bindings {
		if b.SecretID != "" {
			secrets = append(secrets, b.SecretID)
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

// Statements for eachSecret.
const (
	insertSecret = `INSERT INTO audit_secrets (tenant_id, secret_id, at, seq) VALUES ($1, $2, $3, $4)`
	deleteSecret = `DELETE FROM audit_secrets WHERE tenant_id = $1 AND secret_id = $2 AND at = $3 AND seq = $4`
)

// eachSecret runs a statement for each secret of an event, with the columns of audit_secrets as its parameters.
func (l *Log) eachSecret(e *api.Event, statement string, seq int64) error {
	for _, id := range secretsOf(e) {
		if err := l.Tx.Defer(statement, l.Tenant, id, e.Timestamp.UnixMicro(), seq); err != nil {
			return err
		}
	}
	return nil
}

func bindingsText(refs []api.EventRef) string {
	if len(refs) == 0 {
		return ""
	}
	text, _ := json.Marshal(refs) // ids and numbers can be encoded
	return string(text)
}

// sizeOf is about how many bytes an event takes in the database, with its rows in the indexes.
func sizeOf(e *api.Event) int64 {
	const fixed, binding = 600, 96
	return fixed + binding*int64(len(e.Bindings)) + int64(len(e.ResourceID)+len(e.Detail)+len(e.RemoteAddr)+len(e.RequestID)+
		len(e.Host)+len(e.Method)+len(e.Path)+len(e.PolicyID)+len(e.RuleID)+len(e.ExternalUserID)+len(e.ExternalWorkspaceID))
}

// eventRow is an event as it is stored, with its repetitions.
type eventRow struct {
	api.Event
	seq     int64 // orders the events of all tenants
	hash    []byte
	repeats int64 // 1: the event must have a repeat

	repeat repeat // zero: there is none
	match  bool   // of a list: the filter selects it
}

// follows reports whether a row is the event after the one with a number and a hash. Except before the first event, an empty hash is
// unknown and not compared: the chain was altered there, which an event with actAltered says.
func (r *eventRow) follows(number int64, hash []byte) bool {
	known := len(hash) > 0 || number == 0
	return r.Seq == number+1 && (!known || bytes.Equal(hashOf(hash, &r.Event), r.hash))
}

const selectColumns = `SELECT a.id, a.tenant_id, a.at, a.action, a.outcome, a.key_id, a.secret_id, a.binding_id, a.target_key_id,
	a.resource_type, a.resource_id, a.version, a.bindings, a.detail, a.remote_addr, a.request_id, a.host, a.method, a.path,
	a.status_code, a.effect, a.policy_id, a.rule_id, a.occurred_at, a.external_user_id, a.external_workspace_id, a.number, a.hash, a.repeats, a.seq,
	r.number, r.key_id, r.subject, r.started_at, r.last_at, r.count, r.mac, `

const joinRepeats = ` LEFT JOIN audit_repeats r ON r.tenant_id = a.tenant_id AND r.number = a.number AND a.repeats = 1`

// selectEvents is the beginning of a query of rows that all match.
const selectEvents = selectColumns + `1 FROM audit a` + joinRepeats

// events returns the rows of a query that begins with selectColumns or selectEvents.
func (l *Log) events(query string, args ...any) ([]eventRow, error) {
	list := []eventRow{}
	err := l.eachEvent(query, args, func(r *eventRow) bool {
		list = append(list, *r)
		return true
	})
	return list, err
}

// eachEvent calls each with the rows of such a query until it returns false.
func (l *Log) eachEvent(query string, args []any, each func(*eventRow) bool) error {
	rows, err := l.Tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r eventRow
		var at int64
		var bindings string
		var occurred, number, started, last, count sql.NullInt64
		var keyID sql.NullString
		if err := rows.Scan(&r.ID, &r.TenantID, &at, &r.Action, &r.Outcome, &r.KeyID, &r.SecretID, &r.BindingID, &r.TargetKeyID,
			&r.ResourceType, &r.ResourceID, &r.Version, &bindings, &r.Detail, &r.RemoteAddr, &r.RequestID, &r.Host, &r.Method,
			&r.Path, &r.StatusCode, &r.Effect, &r.PolicyID, &r.RuleID, &occurred, &r.ExternalUserID, &r.ExternalWorkspaceID, &r.Seq, &r.hash, &r.repeats, &r.seq,
			&number, &keyID, &r.repeat.subject, &started, &last, &count, &r.repeat.mac, &r.match); err != nil {
			return err
		}
		if bindings != "" {
			if err := json.Unmarshal([]byte(bindings), &r.Bindings); err != nil {
				return err
			}
		}
		r.Timestamp, r.Hash = fromMicros(at), hex.EncodeToString(r.hash)
		r.InsertedAt = r.Timestamp
		if occurred.Valid {
			r.OccurredAt = new(fromMicros(occurred.Int64))
			r.Transforms = transformsOf(r.Bindings)
		}
		r.repeat.number, r.repeat.keyID = number.Int64, keyID.String
		r.repeat.startedAt, r.repeat.lastAt, r.repeat.count = started.Int64, last.Int64, count.Int64
		if r.repeats > 0 {
			r.Count = max(r.repeat.count, 1)
			r.LastAt = new(fromMicros(max(r.repeat.lastAt, at)))
		}
		if !each(&r) {
			return nil
		}
	}
	return rows.Err()
}

// maxRead is about how many bytes of events are read at once: an event may list thousands of bindings.
const maxRead = 2 << 20

// batch returns the next events of the chain after the one with the given seq, at most limit and about maxRead bytes. more
// reports whether there may be more.
func (l *Log) batch(after int64, limit int) (list []eventRow, more bool, err error) {
	size := int64(0)
	err = l.eachEvent(selectEvents+` WHERE a.tenant_id = $1 AND a.seq > $2 ORDER BY a.seq LIMIT $3`, []any{l.Tenant, after, limit}, func(r *eventRow) bool {
		list = append(list, *r)
		size += sizeOf(&r.Event)
		more = len(list) == limit || size >= maxRead
		return size < maxRead
	})
	return list, more, err
}

// toMicros is a time as it is stored; nil is NULL.
func toMicros(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
