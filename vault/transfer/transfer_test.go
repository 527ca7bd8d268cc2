package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

var box = api.Resource{Type: api.Sandbox, ID: "sb_1"}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newRoot(t testing.TB) keyring.Root {
	t.Helper()
	return keyring.Root{Text: must[api.Value](t)(keyring.NewRoot())}
}

// open opens the store of a database. Its list of revoked keys is elsewhere.
func open(t testing.TB, e End, root keyring.Root) *store.Store {
	t.Helper()
	dir := e.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	s := must[*store.Store](t)(store.Open(t.Context(), store.Config{DataDir: dir, Database: e.URL, RootKey: root,
		Revocations: filepath.Join(t.TempDir(), "revocations"), Log: zerolog.Nop()}))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// filled is a new database with rows in every table.
func filled(t testing.TB, e End, root keyring.Root) End {
	t.Helper()
	s := open(t, e, root)
	ctx := t.Context()
	key := must[store.TenantKey](t)(s.CreateTenantKey(ctx, "acme"))
	owner := must[store.Actor](t)(s.Authenticate(ctx, key.Key.Reveal()))
	_ = must[store.TenantKey](t)(s.CreateTenantKey(ctx, "other"))
	expires := time.Now().Add(time.Hour)
	for _, n := range []api.NewSecret{
		{Name: "token", Value: api.NewValue([]byte("one")), Resource: box, ExposeAsEnv: "TOKEN"},
		{Name: "empty", Value: api.NewValue([]byte{}), Resource: box, ExposeAsEnv: "EMPTY", ExpiresAt: &expires, Metadata: []byte(`{"a":"ü \u0001"}`)},
		{Name: "large", Value: api.NewValue([]byte(strings.Repeat("x", api.MaxValueBytes))), Resource: box, ExposeAsEnv: "LARGE", Delivery: api.DeliverPlaceholder},
	} {
		if _, _, _, err := s.PutSecret(ctx, owner, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := s.PutSecret(ctx, owner, api.NewSecret{Name: "account", Value: api.NewValue([]byte("access")), RefreshToken: api.NewValue([]byte("refresh")),
		ExpiresAt: &expires}, &store.Grant{Provider: "github"}); err != nil {
		t.Fatal(err)
	}
	f, state, err := store.NewFlow(owner, "github", "https://vault.example.com", store.Wanted{}, time.Minute)
	if err == nil {
		err = s.AddFlow(ctx, owner, f, state)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = must[api.Policy](t)(s.SetPolicy(ctx, owner, "", api.PolicyRequest{Resource: box, Mode: new(api.ModeEnforce)}))
	if _, _, err := s.CreateEntry(ctx, owner, api.NewAllowlistEntry{Host: "*.example.com", Methods: []string{"GET"}, Note: "ü"}); err != nil {
		t.Fatal(err)
	}
	broker := must[api.IssuedKey](t)(s.IssueKey(ctx, owner, api.KeyRequest{Broker: true, Restrictions: api.Restrictions{Resources: []string{box.String()}}}))
	requests := make([]api.TrafficEvent, 100)
	for i := range requests {
		requests[i] = api.TrafficEvent{ID: fmt.Sprintf("%016d", i), OccurredAt: time.Now(), Resource: box, Host: "api.example.com", Path: "/ü", StatusCode: 200, Effect: api.EffectAllow}
	}
	_ = must[api.TrafficAnswer](t)(s.RecordTraffic(ctx, must[store.Actor](t)(s.Authenticate(ctx, broker.Key)), requests))
	if err := s.AuditLogs().Trim(ctx, owner.TenantID, audit.Retention{Bytes: 100_000}); err != nil { // which leaves a gap
		t.Fatal(err)
	}
	issued := must[api.IssuedKey](t)(s.CreateResourceKey(ctx, owner, box, &expires))
	agent := must[store.Actor](t)(s.Authenticate(ctx, issued.Key))
	for range 3 { // counted in one event
		_, _, _ = s.Bindings(ctx, agent, store.BindingFilter{ResourceType: api.Sandbox, ResourceID: "sb_2"})
	}
	_ = must[int](t)(s.RotateKeys(ctx, ""))
	revoked := must[api.IssuedKey](t)(s.CreateResourceKey(ctx, owner, box, nil))
	if err := s.RevokeKey(ctx, revoked.ID); err != nil {
		t.Fatal(err)
	}
	_ = must[int64](t)(s.AuditLogs().Prune(ctx, owner.TenantID, audit.KeyID, 2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return e
}

// rows are the rows of all tables, each as text.
func rows(t testing.TB, e End) map[string][]string {
	t.Helper()
	source := must[database.Source](t)(e.source(t.Context()))
	defer func() { _ = source.Close() }()
	all := map[string][]string{}
	for _, name := range tables {
		info := must[*tableInfo](t)(describe(source, name))
		err := info.each(t.Context(), source, func(row []any) error {
			all[name] = append(all[name], strings.Join(info.columns, ",")+": "+cmp.Diff(nil, row))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if slices.Sort(all[name]); len(all[name]) == 0 {
			t.Errorf("table %s is empty: this test says nothing about it", name)
		}
	}
	return all
}

func on(kind string) func(testing.TB) End {
	if kind == "PostgreSQL" {
		return func(t testing.TB) End { return End{URL: postgrestest.Start(t)} }
	}
	return func(t testing.TB) End { return End{Dir: t.TempDir()} }
}

func run(t testing.TB, from, to End, root keyring.Root) error {
	t.Helper()
	return Run(t.Context(), Config{From: from, To: to, RootKey: root})
}

// A copy has the same rows in all tables, its vault works, and its next events come after those that were copied. So has a copy of
// the copy in the first kind of database.
func TestRoundTrip(t *testing.T) {
	for _, kinds := range [][2]string{{"SQLite", "PostgreSQL"}, {"PostgreSQL", "SQLite"}, {"SQLite", "SQLite"}, {"PostgreSQL", "PostgreSQL"}} {
		t.Run(kinds[0]+" to "+kinds[1], func(t *testing.T) {
			root := newRoot(t)
			first := filled(t, on(kinds[0])(t), root)
			second, third := on(kinds[1])(t), on(kinds[0])(t)
			want := rows(t, first)
			for _, step := range [][2]End{{first, second}, {second, third}} {
				if err := run(t, step[0], step[1], root); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range []End{first, second, third} {
				if diff := cmp.Diff(want, rows(t, e)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", e, diff)
				}
			}
			for _, e := range []End{second, third} {
				s := open(t, e, root)
				owner := must[store.Actor](t)(s.LocalActor(t.Context(), "acme"))
				before := must[api.AuditHead](t)(s.AuditHead(t.Context(), owner))
				if _, err := s.CreateTenantKey(t.Context(), "acme"); err != nil {
					t.Fatal(err)
				}
				events, _, err := s.Audit(t.Context(), owner, store.AuditFilter{Limit: 1})
				if err != nil || events[0].Seq != before.Seq+1 {
					t.Errorf("the next event: %v, %v; want number %d", events, err, before.Seq+1)
				}
				for check := (api.AuditCheck{}); !check.Complete; {
					check = must[api.AuditCheck](t)(s.VerifyAudit(t.Context(), owner, &audit.Verifier{}, 1000))
					if check.Problem != nil {
						t.Fatal(check.Problem)
					}
				}
				list, _, err := s.Secrets(t.Context(), owner, store.SecretFilter{})
				if err != nil || len(list) != 4 {
					t.Errorf("%d secrets, %v", len(list), err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// All tables of the schema are copied, but for those that a new database has of its own.
func TestTables(t *testing.T) {
	e := filled(t, End{Dir: t.TempDir()}, newRoot(t))
	source := must[database.Source](t)(e.source(t.Context()))
	defer func() { _ = source.Close() }()
	found, err := source.Query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = found.Close() }()
	got := []string{}
	for found.Next() {
		var name string
		if err := found.Scan(&name); err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(append([]string{"schema_version", "heartbeat"}, tables...)))
	if diff := cmp.Diff(want, got); diff != "" || found.Err() != nil {
		t.Errorf("%v (-copied +in the schema):\n%s", found.Err(), diff)
	}
}

// A database that a vault has open, that is missing, or that isn't empty is refused, and so is another root key. Nothing changes then.
func TestRefused(t *testing.T) {
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		t.Run(kind, func(t *testing.T) {
			root := newRoot(t)
			from, other := filled(t, on(kind)(t), root), on(kind)(t)
			want := rows(t, from)
			if err := run(t, other, on(kind)(t), root); !errors.Is(err, database.ErrMissing) {
				t.Errorf("without a database: %v", err)
			}
			if err := run(t, from, from, root); !errors.Is(err, database.ErrNotEmpty) && !errors.Is(err, database.ErrInUse) {
				t.Errorf("to itself: %v", err)
			}
			if err := run(t, from, other, newRoot(t)); err == nil || !strings.Contains(err.Error(), "root key") {
				t.Errorf("with another root key: %v", err)
			}
			s := open(t, from, root)
			if err := run(t, from, other, root); !errors.Is(err, database.ErrInUse) {
				t.Errorf("while a vault has it open: %v", err)
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("the vault afterwards: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := run(t, from, other, root); err != nil { // nothing of the attempts is left
				t.Fatal(err)
			}
			if err := run(t, from, other, root); !errors.Is(err, database.ErrNotEmpty) {
				t.Errorf("to a database that isn't empty: %v", err)
			}
			for _, e := range []End{from, other} {
				if diff := cmp.Diff(want, rows(t, e)); diff != "" {
					t.Errorf("changed (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// While a database is copied, no vault can open it.
func TestNoVaultOpensMeanwhile(t *testing.T) {
	root := newRoot(t)
	e := filled(t, End{URL: postgrestest.Start(t)}, root)
	source := must[database.Source](t)(e.source(t.Context()))
	conf := store.Config{DataDir: t.TempDir(), Database: e.URL, RootKey: root}
	if _, err := store.Open(t.Context(), conf); !errors.Is(err, database.ErrInUse) {
		t.Errorf("the vault of a source: %v", err)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	target := End{URL: postgrestest.Start(t)}
	to := must[database.Target](t)(target.target(t.Context()))
	conf.Database = target.URL
	if _, err := store.Open(t.Context(), conf); !errors.Is(err, database.ErrInUse) {
		t.Errorf("the vault of a target: %v", err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	folder := End{Dir: t.TempDir()}
	first := must[database.Target](t)(folder.target(t.Context()))
	if _, err := folder.target(t.Context()); !errors.Is(err, database.ErrInUse) {
		t.Errorf("two copies to a folder: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder.Dir); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// What was altered outside of the vault isn't copied, unless that is asked for. Then the copy has it too.
func TestAltered(t *testing.T) {
	alterations := map[string]string{
		"tenants":      `UPDATE tenants SET name = 'changed' WHERE name = 'acme'`,
		"api_keys":     `UPDATE api_keys SET resource_id = 'sb_2' WHERE resource_id <> ''`,
		"secrets":      `UPDATE secrets SET name = 'changed' WHERE name = 'token'`,
		"value":        `UPDATE secrets SET value = (SELECT value FROM secrets WHERE name = 'empty') WHERE name = 'token'`,
		"bindings":     `UPDATE bindings SET env_name = 'LD_PRELOAD' WHERE env_name = 'TOKEN'`,
		"oauth_flows":  `UPDATE oauth_flows SET redirect_uri = 'https://other.example'`,
		"oauth_grants": `UPDATE oauth_grants SET provider = 'gitlab'`,

		"network_policies": `UPDATE network_policies SET mode = 'audit_only'`,
		"allowlist":        `UPDATE allowlist SET host = '*.evil.example'`,

		"audit":     `UPDATE audit SET remote_addr = '192.0.2.1' WHERE action = 'secret.create'`,
		"audit end": `DELETE FROM audit WHERE action = 'key.revoke'`,
	}
	for _, name := range slices.Sorted(maps.Keys(alterations)) {
		t.Run(name, func(t *testing.T) {
			root := newRoot(t)
			from, to := filled(t, End{Dir: t.TempDir()}, root), End{Dir: t.TempDir()}
			s := open(t, from, root)
			if err := s.DB().Write(t.Context(), func(tx database.Tx) error { return tx.Exec(alterations[name]) }); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			err := run(t, from, to, root)
			altered, ok := errors.AsType[*store.Alteration](err)
			if !ok || !strings.HasPrefix(name, altered.Table) && name != "value" {
				t.Errorf("got %v", err)
			}
			if left, err := os.ReadDir(to.Dir); err != nil || len(left) != 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
			reported := 0
			err = Run(t.Context(), Config{From: from, To: to, RootKey: root, KeepAltered: true, Altered: func(store.Alteration) { reported++ }})
			if err != nil || reported == 0 {
				t.Errorf("kept: %v, %d reported", err, reported)
			}
			if diff := cmp.Diff(rows(t, from), rows(t, to)); diff != "" {
				t.Errorf("(-from +to):\n%s", diff)
			}
		})
	}
}

// A copy that ends early leaves nothing.
func TestCancelled(t *testing.T) {
	root := newRoot(t)
	from := filled(t, End{Dir: t.TempDir()}, root)
	for _, step := range []string{"copied", "compared", "verified"} {
		ctx, cancel := context.WithCancel(t.Context())
		to := End{Dir: filepath.Join(t.TempDir(), "new")}
		err := Run(ctx, Config{From: from, To: to, RootKey: root, Progress: func(p Progress) {
			if p.Step == step {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", step, err)
		}
		if left, err := os.ReadDir(to.Dir); err != nil || len(left) != 0 {
			t.Errorf("%s: left over: %v, %v", step, left, err)
		}
		cancel()
	}
}
