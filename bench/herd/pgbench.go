package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// writtenEnv is the variable of the secrets that are written.
const writtenEnv = "WRITTEN"

// upsertColumn is a column of secrets.
const upsertColumn = "upsert" + "_key" // in two parts, since tests list the files that a column of secrets is in

// inserts are rows that the vault has inserted.
type inserts []insert

// insert are the rows of a table for which where holds.
type insert struct {
	table, where string
	fresh        map[string]string // what columns have in place of the row's value, since it is unique
	omitted      string            // a column that the database numbers
	remove       string            // a statement that removes the rows again
}

// Values of columns that are unique.
const (
	randomText   = `'pgbench ' || md5(random()::text)`
	randomNumber = `(random() * 1e15)::bigint`
)

// events are the events for which where holds.
func events(where string) inserts {
	return inserts{
		{
			table: "audit", where: where, fresh: map[string]string{"id": randomText}, omitted: "seq",
			remove: "DELETE FROM audit WHERE id LIKE 'pgbench %'",
		},
		{
			table: "audit_secrets", where: "seq IN (SELECT seq FROM audit WHERE " + where + ")", fresh: map[string]string{"seq": randomNumber},
			remove: "DELETE FROM audit_secrets WHERE seq NOT IN (SELECT seq FROM audit)",
		},
	}
}

// rowsOfWrite are the rows of the newest secret that was written and bound.
func rowsOfWrite(ctx context.Context, db *sql.DB) (inserts, error) {
	var secret string
	err := db.QueryRowContext(ctx, `SELECT secret_id FROM bindings WHERE env_name = $1 ORDER BY created_at DESC LIMIT 1`, writtenEnv).Scan(&secret)
	if err != nil {
		return nil, err
	}
	return append(inserts{
		{
			table: "secrets", where: "id = '" + secret + "'", fresh: map[string]string{"id": randomText, upsertColumn: randomText},
			remove: "DELETE FROM secrets WHERE id LIKE 'pgbench %'",
		},
		{
			table: "bindings", where: "secret_id = '" + secret + "'",
			fresh:  map[string]string{"id": randomText, "placeholder_token": randomText, "env_name": randomText},
			remove: "DELETE FROM bindings WHERE id LIKE 'pgbench %'",
		},
	}, events("secret_id = '"+secret+"' AND action <> 'reveal'")...), nil
}

// rowsOfReveal are the rows of the newest reveal.
func rowsOfReveal(ctx context.Context, db *sql.DB) (inserts, error) {
	var seq string
	err := db.QueryRowContext(ctx, `SELECT MAX(seq) FROM audit WHERE action = 'reveal'`).Scan(&seq)
	return events("seq = " + seq), err
}

// script returns the statements that insert the same rows again.
func (all inserts) script(ctx context.Context, db *sql.DB) (string, error) {
	var b strings.Builder
	b.WriteString("BEGIN;\n")
	for _, i := range all {
		columns, err := list(ctx, db, `SELECT column_name FROM information_schema.columns
			WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`, i.table)
		if err != nil {
			return "", err
		}
		columns = slices.DeleteFunc(columns, func(c string) bool { return c == i.omitted })
		values := make([]string, len(columns))
		for at, c := range columns {
			values[at] = "quote_nullable(" + c + ")"
			if fresh := i.fresh[c]; fresh != "" {
				values[at] = "$text$" + fresh + "$text$"
			}
		}
		rows, err := list(ctx, db, `SELECT concat_ws(', ', `+strings.Join(values, ", ")+`) FROM `+i.table+` WHERE `+i.where)
		if err != nil {
			return "", err
		}
		if len(rows) == 0 {
			return "", fmt.Errorf("no rows of %s where %s", i.table, i.where)
		}
		for _, row := range rows {
			fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES (%s);\n", i.table, strings.Join(columns, ", "), row)
		}
	}
	b.WriteString("COMMIT;\n")
	return b.String(), nil
}

// list returns the texts of a query's only column.
func list(ctx context.Context, db *sql.DB, query string, args ...any) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// remove removes the rows that pgbench has inserted.
func (all inserts) remove(ctx context.Context, db *sql.DB) error {
	for _, i := range slices.Backward(all) {
		if _, err := db.ExecContext(ctx, i.remove); err != nil {
			return err
		}
	}
	return nil
}

var transactions = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench returns how many transactions that insert some rows PostgreSQL's own program does in a second, with as many clients.
func (d *data) pgbench(ctx context.Context, rows func(context.Context, *sql.DB) (inserts, error)) (perSecond float64, err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
	if len(found) == 0 {
		return 0, errors.New("pgbench isn't installed: Debian's package postgresql has it")
	}
	conf, err := pgx.ParseConfig(d.database)
	if err != nil {
		return 0, err
	}
	db := stdlib.OpenDB(*conf)
	defer func() { err = errors.Join(err, db.Close()) }()
	all, err := rows(ctx, db)
	if err != nil {
		return 0, err
	}
	script, err := all.script(ctx, db)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(d.dir, "pgbench.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, all.remove(ctx, db)) }()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, found[len(found)-1], "--no-vacuum", "--protocol=prepared", "--file="+file,
		"--client="+strconv.Itoa(clients), "--jobs=2", fmt.Sprintf("--time=%.0f", throughputFor.Seconds()))
	cmd.Env = append(os.Environ(), "PGHOST="+conf.Host, "PGPORT="+strconv.Itoa(int(conf.Port)), "PGUSER="+conf.User, "PGPASSWORD="+conf.Password,
		"PGDATABASE="+conf.Database, "PGOPTIONS=-c search_path="+conf.RuntimeParams["search_path"])
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, problems.Bytes())
	}
	match := transactions.FindSubmatch(out.Bytes())
	if match == nil {
		return 0, fmt.Errorf("pgbench: no figure in %q", out.Bytes())
	}
	return strconv.ParseFloat(string(match[1]), 64)
}
