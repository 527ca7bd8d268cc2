package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/hub"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

// The tests of this package pass on PostgreSQL too.
func TestPostgreSQL(t *testing.T) { postgrestest.Rerun(t) }

// A change wakes the reveals of other processes that it concerns, and no others.
func TestAnnouncements(t *testing.T) {
	dir := postgrestest.StoreFolder(t)
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner, stranger := tenant(t, s, "acme"), tenant(t, s, "other")
	single, many := bound(t, s, owner, "TOKEN", "v"), put(t, s, owner, api.NewSecret{Name: "many", Value: text("v")})
	const resources = 200 // more than there is room for in an announcement
	for i := range resources {
		bind(t, s, owner, api.NewBinding{SecretID: many.ID, Resource: api.Resource{Type: api.Sandbox, ID: fmt.Sprint("sb_many_", i)}, ExposeAsEnv: "MANY"})
	}
	reader := agent(t, s, owner, box1)
	awaken := map[string]hub.Topic{
		"box1": {Tenant: owner.TenantID, Resource: box1}, "box2": {Tenant: owner.TenantID, Resource: api.Resource{Type: api.Sandbox, ID: "sb_2"}},
		"stranger": {Tenant: stranger.TenantID, Resource: box1},
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"rotation", func() error {
			_, err := elsewhere.RotateSecret(t.Context(), owner, single.ID, Rotation{Value: text("v")})
			return err
		}, []string{"box1"}},
		{"rotation for many", func() error {
			_, err := elsewhere.RotateSecret(t.Context(), owner, many.ID, Rotation{Value: text("v")})
			return err
		}, []string{"box1", "box2"}},
		{"revocation", func() error { return elsewhere.RevokeKey(t.Context(), reader.KeyID) }, []string{"box1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			woken := map[string]<-chan struct{}{}
			for name, topic := range awaken {
				c := make(chan struct{}, 1)
				defer s.hub.Subscribe(topic, func() { nudge(c) })()
				woken[name] = c
			}
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			for _, name := range tt.want {
				select {
				case <-woken[name]:
				case <-time.After(time.Minute):
					t.Fatalf("%s isn't woken", name)
				}
				delete(woken, name)
			}
			for name, c := range woken { // woken by the same announcement, if at all
				select {
				case <-c:
					t.Errorf("%s is woken", name)
				default:
				}
			}
		})
	}
}

// A revocation by another process empties the cache of authenticated keys.
func TestAuthenticatedElsewhere(t *testing.T) {
	dir := postgrestest.StoreFolder(t)
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	k, err := s.CreateTenantKey(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	actorOf(t, s, k.Key)
	if err := elsewhere.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, time.Minute, "the key is refused", func() bool {
		_, err := s.Authenticate(t.Context(), k.Key.Reveal())
		return errors.Is(err, api.ErrUnauthorized)
	})
}

// No change by another process is missed when the server ends the listening connections at any time.
func TestNothingIsMissedWithoutAConnection(t *testing.T) {
	dir := postgrestest.StoreFolder(t)
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	ended := 0
	for range 20 {
		done := waiting(t, s, reader, etagOf(t, s, reader), time.Minute)
		lost := make(chan error, 1)
		go func() {
			_ = delay.Sleep(t.Context(), rand.N(20*time.Millisecond))
			lost <- elsewhere.db.Read(t.Context(), func(tx database.Tx) error {
				var n int
				err := tx.QueryRow(`SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'miosa-vault listening'`).Scan(&n)
				ended += n
				return err
			})
		}()
		if err := delay.Sleep(t.Context(), rand.N(20*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := elsewhere.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("v")}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatalf("the wait ended with %v", err)
		}
		if err := <-lost; err != nil {
			t.Fatal(err)
		}
	}
	if ended == 0 {
		t.Error("no connection was ended")
	}
}
