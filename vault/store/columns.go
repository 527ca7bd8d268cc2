package store

import (
	"cmp"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// columns maps columns of a table to pointers to the fields that hold them. Times are stored in microseconds since 1970,
// absent ones as NULL; truth as 1 or 0; absent texts and empty lists as ""; metadata and lists in JSON.
type columns []column

type column struct {
	name  string
	field any
}

// names are the columns' names, each with a prefix such as "b.".
func (c columns) names(prefix string) string {
	names := make([]string, len(c))
	for i, column := range c {
		names[i] = prefix + column.name
	}
	return strings.Join(names, ", ")
}

// fields are what database/sql scans the columns into.
func (c columns) fields() []any {
	fields := make([]any, len(c))
	for i, column := range c {
		switch column.field.(type) {
		case *string, *int64, *[]byte:
			fields[i] = column.field
		default:
			fields[i] = stored{column.field}
		}
	}
	return fields
}

// values are the fields' values. database/sql would take pointers too, but spend a tenth of a reveal on reflection.
func (c columns) values() []any {
	values := make([]any, len(c))
	for i, column := range c {
		switch field := column.field.(type) {
		case *string:
			values[i] = *field
		case *int64:
			values[i] = *field
		case *[]byte:
			values[i] = *field
		case *time.Time:
			values[i] = field.UnixMicro()
		case **time.Time:
			if *field != nil {
				values[i] = (*field).UnixMicro()
			}
		case *bool:
			values[i] = int64(0)
			if *field {
				values[i] = int64(1)
			}
		case **string:
			values[i] = orEmpty(*field)
		case *json.RawMessage:
			values[i] = string(*field)
		case *[]api.EventRef:
			values[i] = listText(*field)
		case *[]string:
			values[i] = listText(*field)
		default:
			panic(fmt.Sprintf("column %s: a field of type %T", column.name, field))
		}
	}
	return values
}

// listText is a list in JSON; "" if it is empty.
func listText[T any](list []T) string {
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list) // texts and numbers can be encoded
	return string(text)
}

// stored is a field that database/sql doesn't scan into by itself.
type stored struct{ field any }

// Scan implements sql.Scanner.
func (s stored) Scan(from any) error {
	switch from := from.(type) {
	case nil:
		if field, ok := s.field.(**time.Time); ok {
			*field = nil
			return nil
		}
	case int64:
		switch field := s.field.(type) {
		case *time.Time:
			*field = fromMicros(from)
			return nil
		case **time.Time:
			*field = new(fromMicros(from))
			return nil
		case *bool:
			*field = from != 0
			return nil
		}
	case string:
		switch field := s.field.(type) {
		case **string:
			*field = orNil(from)
			return nil
		case *json.RawMessage:
			*field = json.RawMessage(from)
			return nil
		case *[]api.EventRef:
			*field = nil
			return scanList(from, field)
		case *[]string:
			*field = nil
			return scanList(from, field)
		}
	}
	return fmt.Errorf("a %T is stored as %T", s.field, from)
}

func scanList(text string, into any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// inserts caches the statements of insert by table: every table has one list of columns.
var inserts sync.Map

// insert adds a row to a table.
func (t *txn) insert(table string, c columns) error {
	statement, ok := inserts.Load(table)
	if !ok {
		names := make([]string, len(c))
		for i, column := range c {
			names[i] = column.name
		}
		statement, _ = inserts.LoadOrStore(table, database.InsertStatement(table, names))
	}
	return t.Defer(statement.(string), c.values()...)
}

// update writes the columns of the row with the given id.
func (t *txn) update(table, id string, c columns) error {
	statement, args := updateStatement(table, id, c)
	return t.Defer(statement, args...)
}

func updateStatement(table, id string, c columns) (statement string, args []any) {
	set := make([]string, len(c))
	for i, column := range c {
		set[i] = column.name + " = $" + strconv.Itoa(i+1)
	}
	return `UPDATE ` + table + ` SET ` + strings.Join(set, ", ") + ` WHERE id = $` + strconv.Itoa(len(c)+1), append(c.values(), id)
}

// secretSize is what a secret adds to usage.bytes.
const secretSize = `OCTET_LENGTH(value) + COALESCE(OCTET_LENGTH(refresh_token), 0) + OCTET_LENGTH(metadata) + OCTET_LENGTH(egress)`

// updateSecret is update for a secret. It counts what the tenant stores, and checks the sets that the secret is in.
func (t *txn) updateSecret(id string, c columns) error {
	before, err := t.sizeOf(id)
	if err != nil {
		return err
	}
	var after int64
	statement, args := updateStatement("secrets", id, c)
	if err := t.QueryRow(statement+` RETURNING `+secretSize, args...).Scan(&after); err != nil {
		return err
	}
	if after > before {
		err = t.checkSets(`SELECT resource_type, resource_id FROM bindings WHERE secret_id = $1`, id)
	}
	return cmp.Or(err, t.use(usage{bytes: after - before}))
}

// sizeOf is the secretSize of a secret.
func (t *txn) sizeOf(secretID string) (size int64, err error) {
	err = t.QueryRow(`SELECT `+secretSize+` FROM secrets WHERE id = $1`, secretID).Scan(&size)
	return size, err
}

// one returns the row of a query, as collect does. Errors: ErrNotFound, naming what isn't there; *alteredError.
func one[T any](t *txn, what string, fields func(*T) []any, query string, args ...any) (row T, err error) {
	err = t.QueryRow(query, args...).Scan(fields(&row)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound(what)
	}
	if r, ok := any(&row).(authenticRow); ok && err == nil {
		err = t.verify(r)
	}
	return row, err
}

// collect returns the rows of a query, verified; never nil. fields returns pointers to the fields of a T in the order of the
// query's columns. It is called once at most: all rows are scanned into one T, and copied.
func collect[T any](t *txn, fields func(*T) []any, query string, args ...any) ([]T, error) {
	list, _, err := collectUntil(t, fields, func(*T) bool { return false }, query, args...)
	return list, err
}

// collectUntil is collect for the rows up to the first one for which last returns true. Then more is true.
func collectUntil[T any](t *txn, fields func(*T) []any, last func(*T) bool, query string, args ...any) (list []T, more bool, err error) {
	rows, err := t.Query(query, args...)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }()
	var row T
	var into []any
	list = []T{}
	for !more && rows.Next() {
		if into == nil {
			into = fields(&row)
		}
		if err := rows.Scan(into...); err != nil {
			return nil, false, err
		}
		list = append(list, row)
		more = last(&row)
	}
	if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
		return nil, false, err
	}
	for i := range list {
		r, ok := any(&list[i]).(authenticRow)
		if !ok {
			break
		}
		if err := t.verify(r); err != nil {
			return nil, false, err
		}
	}
	return list, more, nil
}

// itself is the fields parameter of collect for queries of one column.
func itself(s *string) []any { return []any{s} }

// orNil is nil for "".
func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// orEmpty is "" for nil.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// now is the current time in the store's resolution.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// inMicros is t in the store's resolution.
func inMicros(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(fromMicros(t.UnixMicro()))
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// encode returns an injective encoding of a row, which macs cover. It is valid until the next call.
func (t *txn) encode(table string, c columns) []byte {
	b := api.AppendFrame(t.encoded[:0], table)
	text := func(kind byte, s string) {
		b = binary.BigEndian.AppendUint64(append(b, kind), uint64(len(s)))
		b = append(b, s...)
	}
	for i, value := range c.values() {
		text('c', c[i].name)
		switch value := value.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(value))
		case string:
			text('s', value)
		case []byte:
			text('b', string(value))
		default:
			panic(fmt.Sprintf("column %s: a value of type %T", c[i].name, value))
		}
	}
	t.encoded = b
	return b
}
