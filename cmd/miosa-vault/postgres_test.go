package main

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// withServers runs tests, and stops the servers that they have started.
type withServers struct{ *testing.M }

func (m withServers) Run() int {
	defer postgrestest.Stop()
	return m.M.Run()
}

// replica is one of several vaults on the same database.
type replica struct {
	*process
	url string
}

func startReplica(t *testing.T, dir, rootKey, databaseFile string) *replica {
	t.Helper()
	path, err := exec.LookPath("miosa-vault")
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{process: &process{Cmd: exec.Command(path, "serve", "--data-dir", dir, "--root-key-file", rootKey, "--database-file", databaseFile,
		"--addr", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug")}}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	r.url, _ = r.serves(t)
	return r
}

// Three vaults share a database on PostgreSQL: what one stores, the others reveal, and a change or revocation through one ends
// waits at another. When one is killed, the others go on.
func TestReplicasOnPostgreSQL(t *testing.T) {
	dir := t.TempDir()
	rootKey, file := filepath.Join(dir, "root.key"), filepath.Join(dir, "database.url")
	if err := os.WriteFile(file, []byte(postgrestest.Start(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	succeed(t, "keys", "root", "--out", rootKey)
	tenant := parsed(t, succeed(t, "keys", "create", "--tenant", "acme", "--data-dir", filepath.Join(dir, "0"), "--root-key-file", rootKey, "--database-file", file))
	var replicas []*replica
	for _, name := range []string{"0", "1", "2"} {
		replicas = append(replicas, startReplica(t, filepath.Join(dir, name), rootKey, file))
	}
	owner := dial(t, replicas[0].url, tenant)
	defer owner.Close()
	box := api.Resource{Type: "sandbox", ID: "sb_1"}
	secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("CANARY one")), Resource: box, ExposeAsEnv: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	minted, err := owner.CreateResourceKey(t.Context(), box, nil)
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		set api.Snapshot
		err error
	}
	reader := dial(t, replicas[1].url, parsed(t, minted.Key))
	defer reader.Close()
	first, err := reader.Reveal(t.Context(), box, "", 0)
	if err != nil || len(first.Bound) != 1 || first.Bound[0].Value.Reveal() != "CANARY one" {
		t.Fatalf("%d values, %v", len(first.Bound), err)
	}
	wait := func(etag string) <-chan result {
		done := make(chan result, 1)
		go func() {
			set, err := reader.Reveal(t.Context(), box, etag, patience)
			done <- result{set, err}
		}()
		return done
	}
	waiting := wait(first.Etag)
	if _, err := owner.RotateSecret(t.Context(), secret.ID, fetch.Rotation{Value: api.NewValue([]byte("CANARY two"))}); err != nil {
		t.Fatal(err)
	}
	rotated := <-waiting
	if rotated.err != nil || rotated.set.Bound[0].Value.Reveal() != "CANARY two" {
		t.Fatalf("after a rotation: %v", rotated.err)
	}
	replicas[0].kill()
	other := dial(t, replicas[2].url, tenant)
	defer other.Close()
	waiting = wait(rotated.set.Etag)
	time.Sleep(50 * time.Millisecond) // the wait began before; if not, the key is refused all the same
	if err := other.RevokeResourceKey(t.Context(), minted.ID); err != nil {
		t.Fatal(err)
	}
	if revoked := <-waiting; !errors.Is(revoked.err, api.ErrUnauthorized) {
		t.Errorf("after the revocation: %v", revoked.err)
	}
	events, _, err := other.Audit(t.Context(), fetch.AuditFilter{Action: "reveal"})
	if err != nil || len(events) != 2 {
		t.Errorf("%d reveals audited, %v", len(events), err)
	}
	if out := succeed(t, "audit", "verify", "--data-dir", filepath.Join(dir, "2"), "--root-key-file", rootKey, "--database-file", file); !strings.Contains(out, "acme") {
		t.Errorf("audit verify: %s", out)
	}
	for _, r := range replicas {
		out, log := r.text()
		for _, text := range []string{"CANARY", "search_path", "msk_"} {
			if strings.Contains(out+log, text) {
				t.Errorf("a vault's output contains %s", text)
			}
		}
	}
}

// A password of the database isn't accepted where others can read it, and a wrong URL is refused without repeating it.
func TestDatabaseURL(t *testing.T) {
	dir := t.TempDir()
	rootKey := filepath.Join(dir, "root.key")
	succeed(t, "keys", "root", "--out", rootKey)
	for url, want := range map[string]string{
		"postgres://vault:CANARY@127.0.0.1:1/vault":           "--database contains a password",
		"postgres://127.0.0.1:1/vault?user=v&password=CANARY": "--database contains a password",
		"host=127.0.0.1 port=1 password = CANARY":             "--database contains a password",
		"postgres://vault@127.0.0.1:1/vault":                  "open store: open PostgreSQL database",
		"postgres://vault@127.0.0.1:no/vault":                 "open store: open PostgreSQL database",
	} {
		var stderr bytes.Buffer
		c := exec.CommandContext(t.Context(), "miosa-vault", "keys", "list", "--data-dir", dir, "--root-key-file", rootKey, "--database", url)
		c.Stderr = &stderr
		if err := c.Run(); err == nil || !strings.Contains(stderr.String(), want) || strings.Contains(stderr.String(), "CANARY") {
			t.Errorf("%v: %s", err, &stderr)
		}
	}
	c := exec.CommandContext(t.Context(), "miosa-vault", "keys", "list", "--data-dir", dir, "--root-key-file", rootKey)
	c.Env = append(os.Environ(), databaseEnv+"=postgres://vault:CANARY@127.0.0.1:1/vault")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "open PostgreSQL database") || strings.Contains(string(out), "CANARY") {
		t.Errorf("%v: %s", err, out)
	}
}

// The hint to try psql is for servers that can't be reached, not for a database of a newer program.
func TestDatabaseOfANewerProgram(t *testing.T) {
	dir := t.TempDir()
	rootKey, file, url := filepath.Join(dir, "root.key"), filepath.Join(dir, "database.url"), postgrestest.Start(t)
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	succeed(t, "keys", "root", "--out", rootKey)
	store := []string{"--data-dir", dir, "--root-key-file", rootKey, "--database-file", file}
	succeed(t, append([]string{"keys", "create", "--tenant", "acme"}, store...)...)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), `INSERT INTO schema_version (version, applied_at) VALUES (999, 0)`); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "miosa-vault", append([]string{"keys", "list"}, store...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run a newer one") || strings.Contains(string(out), "psql") {
		t.Errorf("%v: %s", err, out)
	}
}
