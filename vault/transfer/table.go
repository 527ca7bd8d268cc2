package transfer

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/Miosa-osa/miosa-env/vault/database"
)

// tables are those that are copied, each after the ones that it refers to. Missing are schema_version, which the target has of its
// own, and heartbeat, whose row means nothing.
var tables = []string{
	"root_key", "tenants", "tenant_usage", "api_keys", "secrets", "bindings", "oauth_flows", "oauth_grants", "network_policies", "allowlist",
	"audit", "audit_chains", "audit_gaps", "audit_repeats", "audit_secrets",
}

// progressRows is how many rows pass between two reports of progress.
const progressRows = 10_000

// copyAll copies all tables, and compares the rows of both databases.
func (c Config) copyAll(ctx context.Context, from database.Source, to database.Target) error {
	digests := map[string]digest{}
	for _, table := range tables {
		t, err := describe(from, table)
		if err == nil {
			digests[table], err = c.copyTable(ctx, t, from, to)
		}
		if err != nil {
			return fmt.Errorf("copy table %s: %w", table, err)
		}
	}
	if err := to.Loaded(); err != nil {
		return err
	}
	for _, table := range tables {
		t, err := describe(from, table)
		if err != nil {
			return err
		}
		copied := digest{}
		err = t.each(ctx, to, func(row []any) error {
			copied.add(row)
			return nil
		})
		if err == nil && copied != digests[table] {
			err = fmt.Errorf("the copy differs: %d rows of %d", copied.rows, digests[table].rows)
		}
		if err != nil {
			return fmt.Errorf("compare table %s: %w", table, err)
		}
		c.Progress(Progress{Step: "compared", Table: table, Done: copied.rows, Ended: true})
	}
	return nil
}

func (c Config) copyTable(ctx context.Context, t *tableInfo, from database.Source, to database.Target) (sum digest, err error) {
	var all int64
	if err := from.QueryRow(`SELECT COUNT(*) FROM ` + t.name).Scan(&all); err != nil {
		return sum, err
	}
	rows, err := t.query(from)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, rows.from.Close()) }()
	err = to.Load(t.name, t.columns, func() ([]any, error) {
		row, err := rows.next(ctx)
		if row == nil || err != nil {
			return nil, err
		}
		if sum.add(row); sum.rows%progressRows == 0 {
			c.Progress(Progress{Step: "copied", Table: t.name, Done: sum.rows, Rows: all})
		}
		return row, nil
	})
	if err == nil && sum.rows != all {
		err = fmt.Errorf("%d rows of %d", sum.rows, all)
	}
	if err == nil {
		c.Progress(Progress{Step: "copied", Table: t.name, Done: sum.rows, Ended: true})
	}
	return sum, err
}

// kind is a type of column. Both databases have the same three under different names.
type kind int

const (
	number kind = iota
	text
	bytes
)

// tableInfo describes a table.
type tableInfo struct {
	name    string
	columns []string
	kinds   []kind
}

func describe(from database.Tx, name string) (*tableInfo, error) {
	rows, err := from.Query(`SELECT * FROM ` + name + ` LIMIT 0`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	t := &tableInfo{name: name}
	for _, c := range types {
		k := number
		switch c.DatabaseTypeName() {
		case "TEXT":
			k = text
		case "BLOB", "BYTEA":
			k = bytes
		}
		t.columns, t.kinds = append(t.columns, c.Name()), append(t.kinds, k)
	}
	return t, errors.Join(rows.Err(), rows.Close())
}

// tableRows are the rows of a table that are read one after another.
type tableRows struct {
	*tableInfo
	from *sql.Rows
}

// query selects all rows. Events are in their order, in which they are stored fastest.
func (t *tableInfo) query(tx database.Tx) (tableRows, error) {
	order := ""
	if t.name == "audit" {
		order = " ORDER BY seq"
	}
	rows, err := tx.Query(`SELECT ` + strings.Join(t.columns, ", ") + ` FROM ` + t.name + order) //nolint:rowserrcheck // next checks it
	return tableRows{t, rows}, err
}

// each calls do for all rows.
func (t *tableInfo) each(ctx context.Context, tx database.Tx, do func(row []any) error) (err error) {
	rows, err := t.query(tx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.from.Close()) }()
	for {
		row, err := rows.next(ctx)
		if err == nil && row != nil {
			err = do(row)
		}
		if err != nil || row == nil {
			return err
		}
	}
}

// next returns the next row: for each column nil, an int64, a string or a []byte, as its kind says. After the last row it returns
// nil.
func (t tableRows) next(ctx context.Context) ([]any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !t.from.Next() {
		return nil, t.from.Err()
	}
	row := make([]any, len(t.columns))
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	if err := t.from.Scan(into...); err != nil {
		return nil, err
	}
	for i, v := range row {
		row[i] = t.kinds[i].of(v)
		if row[i] == nil && v != nil {
			return nil, fmt.Errorf("column %s has a %T", t.columns[i], v)
		}
	}
	return row, nil
}

// of is a value as one of the kind: SQLite has some empty texts where others have empty bytes. nil: it is none.
func (k kind) of(v any) any {
	switch v := v.(type) {
	case int64:
		if k == number {
			return v
		}
	case string:
		switch k {
		case text:
			return v
		case bytes:
			return []byte(v)
		}
	case []byte:
		switch k {
		case text:
			return string(v)
		case bytes:
			if v == nil { // an empty one
				return []byte{}
			}
			return v
		}
	}
	return nil
}

// digest is the number of rows, and the sum of their hashes, so that it doesn't depend on their order.
type digest struct {
	rows int64
	sum  [4]uint64
}

func (d *digest) add(row []any) {
	h := sha256.New()
	write := func(kind byte, b []byte) {
		_, _ = h.Write(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(b))))
		_, _ = h.Write(b)
	}
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			write('n', nil)
		case int64:
			write('i', binary.BigEndian.AppendUint64(nil, uint64(v)))
		case string:
			write('s', []byte(v))
		case []byte:
			write('b', v)
		}
	}
	sum := h.Sum(nil)
	for i := range d.sum {
		d.sum[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	d.rows++
}
