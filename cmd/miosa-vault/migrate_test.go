package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// ofMigration are the folder of a SQLite database, a PostgreSQL database, and what names both for migrate.
type ofMigration struct {
	dir, data, url    string
	rootKey, urlFile  string
	toServer, toFiles []string // arguments of migrate
}

// newMigration returns a SQLite database with some rows, and an empty schema. The URL has a password, though the server needs none.
func newMigration(t *testing.T) *ofMigration {
	t.Helper()
	dir := t.TempDir()
	m := &ofMigration{dir: dir, data: filepath.Join(dir, "data"), rootKey: filepath.Join(dir, "root.key"), urlFile: filepath.Join(dir, "database.url")}
	m.url = postgrestest.Start(t) + "&password=CANARY"
	if err := os.WriteFile(m.urlFile, []byte(m.url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	succeed(t, "keys", "root", "--out", m.rootKey)
	for i := range 3 {
		succeed(t, "keys", "create", "--tenant", fmt.Sprint("tenant", i), "--data-dir", m.data, "--root-key-file", m.rootKey)
	}
	m.toServer = []string{"migrate", "--from", m.data, "--to-file", m.urlFile, "--root-key-file", m.rootKey}
	m.toFiles = []string{"migrate", "--from-file", m.urlFile, "--to", filepath.Join(dir, "back"), "--root-key-file", m.rootKey}
	return m
}

// keys lists the keys of a database.
func (m *ofMigration) keys(t *testing.T, flags ...string) string {
	t.Helper()
	return succeed(t, append([]string{"keys", "list", "--root-key-file", m.rootKey, "--data-dir"}, flags...)...)
}

// tables returns the number of tables in the schema.
func (m *ofMigration) tables(t *testing.T) (n int) {
	t.Helper()
	db, err := sql.Open("pgx", m.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema()`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// killAt starts migrate and kills it after a number of lines of progress. It reports whether there were as many.
func killAt(t *testing.T, args []string, lines int) bool {
	t.Helper()
	c := exec.CommandContext(t.Context(), "miosa-vault", args...)
	stderr, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for text := bufio.NewScanner(stderr); seen < lines && text.Scan(); seen++ {
		if strings.Contains(text.Text(), "CANARY") {
			t.Errorf("it wrote %s", text.Text())
		}
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	return seen == lines
}

// A database moves to PostgreSQL and back, with all keys. A password in the file of a URL appears nowhere.
func TestMigrateToPostgreSQLAndBack(t *testing.T) {
	m := newMigration(t)
	want := m.keys(t, m.data)
	server := []string{filepath.Join(m.dir, "replica"), "--database-file", m.urlFile}
	succeed(t, m.toServer...)
	if diff := cmp.Diff(want, m.keys(t, server...)); diff != "" {
		t.Errorf("keys on PostgreSQL (-want +got):\n%s", diff)
	}
	// The other end may be in the environment.
	c := exec.CommandContext(t.Context(), "miosa-vault", "migrate", "--to", filepath.Join(m.dir, "back"), "--root-key-file", m.rootKey)
	c.Env = append(os.Environ(), databaseEnv+"="+m.url)
	if out, err := c.CombinedOutput(); err != nil || strings.Contains(string(out), "CANARY") {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff(want, m.keys(t, filepath.Join(m.dir, "back"))); diff != "" {
		t.Errorf("keys of the copy of the copy (-want +got):\n%s", diff)
	}
	c = exec.CommandContext(t.Context(), "miosa-vault", m.toServer...)
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "there is a database already") || strings.Contains(string(out), "CANARY") {
		t.Errorf("%v: %s", err, out)
	}
}

// migrate that is killed at any step leaves the target as it was and the source unchanged, and can be run again.
func TestMigrateKilled(t *testing.T) {
	m := newMigration(t)
	want := m.keys(t, m.data)
	back := filepath.Join(m.dir, "back")
	kills := 0
	for lines := 0; killAt(t, m.toServer, lines); lines += 5 {
		kills++
		if !poll.Within(patience, func() bool { return m.tables(t) == 0 }) {
			// The last lines may be written when it is committed already.
			if got := m.keys(t, filepath.Join(m.dir, "replica"), "--database-file", m.urlFile); got != want {
				t.Fatalf("killed after %d lines: %d tables", lines, m.tables(t))
			}
			break
		}
	}
	if got := m.keys(t, m.data); got != want {
		t.Errorf("the source has changed: %s", cmp.Diff(want, got))
	}
	if m.tables(t) == 0 {
		succeed(t, m.toServer...)
	}
	for lines := 0; killAt(t, m.toFiles, lines); lines += 5 {
		kills++
		if _, err := os.Stat(filepath.Join(back, "vault.db")); err == nil {
			break
		}
	}
	if _, err := os.Stat(filepath.Join(back, "vault.db")); err != nil {
		succeed(t, m.toFiles...)
	}
	for _, flags := range [][]string{{filepath.Join(m.dir, "replica"), "--database-file", m.urlFile}, {back}} {
		if diff := cmp.Diff(want, m.keys(t, flags...)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if left, err := filepath.Glob(filepath.Join(back, "*.partial")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if kills < 8 {
		t.Errorf("only %d kills", kills)
	}
}
