package vault

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

var (
	box1     = api.Resource{Type: api.Sandbox, ID: "sb_1"}
	errCrash = errors.New("crash")
)

func actorOf(t testing.TB, s *store.Store, k api.Key) store.Actor {
	t.Helper()
	a, err := s.Authenticate(t.Context(), k.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tenant creates a key of a tenant and returns its actor.
func tenant(t testing.TB, s *store.Store, name string) store.Actor {
	t.Helper()
	k, err := s.CreateTenantKey(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return actorOf(t, s, k.Key)
}

// agent creates a resource key and returns its actor.
func agent(t testing.TB, s *store.Store, owner store.Actor, r api.Resource) store.Actor {
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

// bound stores a secret and binds it to box1.
func bound(t testing.TB, s *store.Store, a store.Actor, env, value string) {
	t.Helper()
	secret, _, _, err := s.PutSecret(t.Context(), a, api.NewSecret{Name: env, Value: api.NewValue([]byte(value))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateBinding(t.Context(), a, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: env}); err != nil {
		t.Fatal(err)
	}
}

// revealed is the set of box1 in plaintext, by name.
func revealed(t testing.TB, s *store.Store, a store.Actor) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, b := range snapshot(t, s, a).Bound {
		values[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return values
}

// snapshot is the set of box1.
func snapshot(t testing.TB, s *store.Store, a store.Actor) api.Snapshot {
	t.Helper()
	opener, err := api.NewOpener(box1)
	if err != nil {
		t.Fatal(err)
	}
	to, err := api.NewSealer(box1, opener.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Reveal(t.Context(), a, box1, to, func(context.Context, int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	set, err := opener.Open(answer)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// audited lists the events of one action, oldest first.
func audited(t testing.TB, s *store.Store, a store.Actor, action string) []api.Event {
	t.Helper()
	events, _, err := s.Audit(t.Context(), a, store.AuditFilter{Action: action, Since: &time.Time{}, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// tamper runs a statement on the database, without the store's checks.
func tamper(t testing.TB, s *store.Store, statement string, args ...any) {
	t.Helper()
	if err := s.DB().Write(t.Context(), func(tx database.Tx) error { return tx.Exec(statement, args...) }); err != nil {
		t.Fatal(err)
	}
}

// alter runs a statement whose effect the vault takes for its own.
func alter(t testing.TB, s *store.Store, statement string, args ...any) {
	t.Helper()
	if err := s.Alter(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// look reads a single value on the connection that writes.
func look(t testing.TB, s *store.Store, into any, query string, args ...any) {
	t.Helper()
	if err := s.DB().Write(t.Context(), func(tx database.Tx) error { return tx.QueryRow(query, args...).Scan(into) }); err != nil {
		t.Fatal(err)
	}
}
