package store

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// columns maps columns of a table to pointers to the fields that hold them, as database/sql scans and stores them.
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

func (c columns) fields() []any {
	fields := make([]any, len(c))
	for i, column := range c {
		fields[i] = column.field
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
		case driver.Valuer:
			values[i], _ = field.Value() // those of this file return no error
		default:
			panic(fmt.Sprintf("column %s: a field of type %T", column.name, field))
		}
	}
	return values
}

// inserts caches the statements of insert by table: every table has one list of columns.
var inserts sync.Map

// insert adds a row to a table.
func (t *txn) insert(table string, c columns) error {
	statement, ok := inserts.Load(table)
	if !ok {
		parameters := make([]string, len(c))
		for i := range c {
			parameters[i] = "$" + strconv.Itoa(i+1)
		}
		statement, _ = inserts.LoadOrStore(table, `INSERT INTO `+table+` (`+c.names("")+`) VALUES (`+strings.Join(parameters, ", ")+`)`)
	}
	return t.Exec(statement.(string), c.values()...)
}

// update writes the columns of the row with the given id.
func (t *txn) update(table, id string, c columns) error {
	set := make([]string, len(c))
	for i, column := range c {
		set[i] = column.name + " = $" + strconv.Itoa(i+1)
	}
	return t.Exec(`UPDATE `+table+` SET `+strings.Join(set, ", ")+` WHERE id = $`+strconv.Itoa(len(c)+1), append(c.values(), id)...)
}

// collect returns the rows of a query; never nil. fields returns pointers to the fields of a T in the order of the
// query's columns. It is called once at most: all rows are scanned into one T, and copied.
func collect[T any](t *txn, fields func(*T) []any, query string, args ...any) ([]T, error) {
	rows, err := t.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var row T
	var into []any
	list := []T{}
	for rows.Next() {
		if into == nil {
			into = fields(&row)
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// itself is the field of a query of one column.
func itself(s *string) []any { return []any{s} }

// instant is a time in a BIGINT column, in microseconds since 1970.
type instant struct{ *time.Time }

// Scan implements sql.Scanner.
func (i instant) Scan(from any) error {
	n, ok := from.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", from)
	}
	*i.Time = fromMicros(n)
	return nil
}

// Value implements driver.Valuer.
func (i instant) Value() (driver.Value, error) { return i.UnixMicro(), nil }

// optionalInstant is an instant that may be NULL: nil.
type optionalInstant struct{ time **time.Time }

// Scan implements sql.Scanner.
func (i optionalInstant) Scan(from any) error {
	*i.time = nil
	if from == nil {
		return nil
	}
	*i.time = new(time.Time)
	return instant{*i.time}.Scan(from)
}

// Value implements driver.Valuer.
func (i optionalInstant) Value() (driver.Value, error) {
	if *i.time == nil {
		return nil, nil
	}
	return instant{*i.time}.Value()
}

// optionalText is a text that is stored as "" if it is nil.
type optionalText struct{ text **string }

// Scan implements sql.Scanner.
func (o optionalText) Scan(from any) error {
	s, ok := from.(string)
	if !ok {
		return fmt.Errorf("a text is stored as %T", from)
	}
	*o.text = orNil(s)
	return nil
}

// Value implements driver.Valuer.
func (o optionalText) Value() (driver.Value, error) { return orEmpty(*o.text), nil }

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

// jsonText is JSON in a TEXT column; nil is stored as "".
type jsonText struct{ *json.RawMessage }

// Scan implements sql.Scanner.
func (j jsonText) Scan(from any) error {
	s, ok := from.(string)
	if !ok {
		return fmt.Errorf("JSON is stored as %T", from)
	}
	*j.RawMessage = json.RawMessage(s)
	return nil
}

// Value implements driver.Valuer.
func (j jsonText) Value() (driver.Value, error) { return string(*j.RawMessage), nil }

// now is the current time in the store's resolution.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// inMicros is t in the store's resolution.
func inMicros(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	rounded := fromMicros(t.UnixMicro())
	return &rounded
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
