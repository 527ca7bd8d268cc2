package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// storeAt opens the store in dir, with its root key next to the database, as the command line does. Opening a dir
// twice simulates two processes.
func storeAt(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{
		Limits:  unlimited,
		DataDir: dir, Database: postgrestest.Database(t, dir),
		RootKey: rootAt(t, dir),
		Watch:   20 * time.Millisecond,
		Log:     zerolog.New(zerolog.NewTestWriter(t)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return s
}

// rootAt creates a root key beside the database, unless there is one.
func rootAt(t testing.TB, dir string) keyring.Root {
	t.Helper()
	path := filepath.Join(dir, "root.key")
	err := newfile.Write(path, func() (string, error) {
		key, err := keyring.NewRoot()
		return key.Reveal() + "\n", err
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return keyring.Root{File: path}
}

func newStore(t testing.TB) *Store { t.Helper(); return storeAt(t, t.TempDir()) }

// tenant creates a key of a tenant and returns its actor.
func tenant(t testing.TB, s *Store, name string) Actor {
	t.Helper()
	k, err := s.CreateTenantKey(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return actorOf(t, s, k.Key)
}

// agent creates a resource key and returns its actor.
func agent(t testing.TB, s *Store, owner Actor, r api.Resource) Actor {
	t.Helper()
	k, err := s.CreateResourceKey(t.Context(), owner, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(k.Key)
	if err != nil {
		t.Fatal(err)
	}
	return actorOf(t, s, key)
}

func actorOf(t testing.TB, s *Store, k api.Key) Actor {
	t.Helper()
	a, err := s.Authenticate(t.Context(), k.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	a.RemoteAddr, a.RequestID = "192.0.2.7:4711", "req_test"
	return a
}

var box1 = api.Resource{Type: api.Sandbox, ID: "sb_1"}

func text(s string) api.Value {
	return api.NewValue([]byte(s))
}

func in(d time.Duration) *time.Time {
	t := time.Now().Add(d)
	return &t
}

func put(t testing.TB, s *Store, a Actor, p api.NewSecret) api.Secret {
	t.Helper()
	secret, _, _, err := s.PutSecret(t.Context(), a, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// bound stores a secret and binds it to box1.
func bound(t testing.TB, s *Store, a Actor, env, value string) api.Secret {
	t.Helper()
	secret := put(t, s, a, api.NewSecret{Name: env, Value: text(value)})
	bind(t, s, a, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: env})
	return secret
}

func bind(t testing.TB, s *Store, a Actor, n api.NewBinding) api.Binding {
	t.Helper()
	b, _, err := s.CreateBinding(t.Context(), a, n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// revealed is the set of box1 in plaintext, by name.
func revealed(t testing.TB, s *Store, a Actor) map[string]string {
	t.Helper()
	set, err := s.opened(t.Context(), a, box1)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, b := range set {
		values[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return values
}

// audited lists the events of one action, oldest first.
func audited(t testing.TB, s *Store, a Actor, action string) []api.Event {
	t.Helper()
	events, _, err := s.Audit(t.Context(), a, AuditFilter{Action: action, Since: &time.Time{}, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func wantKind(t testing.TB, err error, want *api.Kind) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %s", err, want.Code)
	}
}

// tamper runs a statement on the database, without the store's checks.
func tamper(t testing.TB, s *Store, statement string, args ...any) {
	t.Helper()
	if err := s.db.Write(t.Context(), func(tx database.Tx) error { return tx.Exec(statement, args...) }); err != nil {
		t.Fatal(err)
	}
}

// look reads one row of one column, on the connection that writes.
func look(t testing.TB, s *Store, into any, query string, args ...any) {
	t.Helper()
	if err := s.db.Write(t.Context(), func(tx database.Tx) error { return tx.QueryRow(query, args...).Scan(into) }); err != nil {
		t.Fatal(err)
	}
}

// blockWrites blocks all other writes until release is called.
func blockWrites(t testing.TB, s *Store) (release func()) {
	t.Helper()
	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		left <- s.db.Write(context.Background(), func(database.Tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	return func() {
		close(leave)
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
}

func TestConfigTellsEveryProblem(t *testing.T) {
	err := Config{Watch: time.Minute}.Validate()
	want := []string{"data directory is required", "root key is required: name a file, or set MIOSA_VAULT_ROOT_KEY",
		"watch interval must be 0 to 1s"}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("problems (-got +want)\n%s", diff)
	}
}

func TestStoreOutlivesItsProcess(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TOKEN", "first")
	reader := agent(t, s, owner, box1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.opened(t.Context(), reader, box1); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("reveal from a closed store: got %v, want UNAVAILABLE", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("a closed store is ready: %v", err)
	}
	again := storeAt(t, dir)
	if diff := cmp.Diff(map[string]string{"TOKEN": "first"}, revealed(t, again, reader)); diff != "" {
		t.Errorf("set (-got +want)\n%s", diff)
	}
	if err := again.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"vault.db", "vault.db-wal", "root.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", name, mode)
		}
	}
}

// During an upgrade, a program that runs goes on with the tables to which a newer one has added something. It doesn't start with them.
func TestStoreOfANewerProgram(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "old")
	reader := agent(t, s, owner, box1)
	revealed(t, s, reader) // its statements are prepared
	for _, table := range []string{"tenants", "api_keys", "secrets", "bindings", "audit", "audit_chains"} {
		tamper(t, s, `ALTER TABLE `+table+` ADD COLUMN newer BIGINT NOT NULL DEFAULT 0`)
	}
	tamper(t, s, `INSERT INTO schema_version (version, applied_at) VALUES (999, 0)`)
	done := waiting(t, s, reader, etagOf(t, s, reader), time.Minute)
	if _, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("new")}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the wait ended with %v", err)
	}
	if got := revealed(t, s, reader)["TOKEN"]; got != "new" {
		t.Errorf("revealed %q", got)
	}
	_, err := Open(t.Context(), Config{DataDir: dir, Database: postgrestest.Database(t, dir), RootKey: rootAt(t, dir)})
	if err == nil || !strings.Contains(err.Error(), "run a newer one") {
		t.Errorf("got %v", err)
	}
}

// Concurrent writes and reveals of one resource, for the race detector: versions have no gaps, and every revealed
// set is one that existed.
func TestStoreConcurrently(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "1")
	reader := agent(t, s, owner, box1)
	const writers, rotations = 4, 10
	failed := make(chan error, writers+1)
	for range writers {
		go func() {
			for range rotations {
				if _, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("v")}); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	go func() {
		etag, version := "", int64(0)
		for version < 1+writers*rotations {
			if err := s.Await(t.Context(), reader, box1, etag, 10*time.Second); err != nil {
				failed <- err
				return
			}
			state, err := s.state(t.Context(), reader, box1)
			if err != nil {
				failed <- err
				return
			}
			if state.labels[0].Version < version {
				failed <- errors.New("version went backwards")
				return
			}
			etag, version = state.etag, state.labels[0].Version
		}
		failed <- nil
	}()
	for range writers + 1 {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	if n := len(audited(t, s, owner, actSecretRotate)); n != writers*rotations {
		t.Errorf("%d rotations audited, want %d", n, writers*rotations)
	}
}

// A write that the disk refuses is not acknowledged, reads keep working, and Ready reports success by itself once
// the disk accepts writes again.
func TestStoreOnAFullDisk(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "small")
	var pages, got int
	look(t, s, &pages, `PRAGMA page_count`)
	limit := func(n int) { look(t, s, &got, `PRAGMA max_page_count = `+itoa(n)) }
	limit(pages) // SQLite then returns SQLITE_FULL, as it does for ENOSPC
	_, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text(strings.Repeat("x", 100_000))})
	wantKind(t, err, api.ErrUnavailable)
	stands, err := s.Secret(t.Context(), owner, secret.ID)
	if err != nil || stands.Version != 1 {
		t.Errorf("after a refused write: version %d, %v; want 1", stands.Version, err)
	}
	limit(1 << 20)
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("after the disk has space again: %v", err)
	}
	if _, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("new")}); err != nil {
		t.Error(err)
	}
}

func TestStoreGivesUpWithItsCaller(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	release := blockWrites(t, s)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, _, err := s.PutSecret(ctx, owner, api.NewSecret{Name: "a", Value: text("")}, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
