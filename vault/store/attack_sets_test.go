package store

import (
	"context"
	"strconv"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// A set of many bindings needs memory though it has few values, also the first time after a change.
func TestAttack_SetOfManyBindings(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	box := agent(t, s, a, box1)
	secret := put(t, s, a, api.NewSecret{Name: "X", Value: text("x")})
	const bindings = 2000
	bind := func(from, to int) {
		for i := from; i < to; i++ {
			err := s.writeNow(t.Context(), a, func(t *txn) error {
				_, _, err := t.bind(api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "X" + strconv.Itoa(i), Delivery: api.DeliverPlaceholder})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	bind(0, bindings)
	for n := range 3 {
		bind(bindings+n, bindings+n+1)
		if n == 1 { // a wait is the first to read it
			if _, err := s.state(t.Context(), box, box1); err != nil {
				t.Fatal(err)
			}
		}
		opener, err := api.NewOpener(box1)
		if err != nil {
			t.Fatal(err)
		}
		to, err := api.NewSealer(box1, opener.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		reserved := int64(0)
		if _, err := s.Reveal(t.Context(), box, box1, to, func(_ context.Context, n int64) error { reserved = n; return nil }); err != nil {
			t.Fatal(err)
		}
		if reserved < bindings*512 {
			t.Errorf("%d bytes reserved", reserved)
		}
		if now, err := s.state(t.Context(), box, box1); err != nil || len(now.labels) != bindings+n+1 {
			t.Fatal(len(now.labels), err)
		}
	}
}

// A database that loses its newest changes under a running vault, as one that fails over to a standby that lags behind, has
// the same revision with another content later. What the vault keeps of the lost one isn't revealed.
func TestAttack_LostRevision(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	box := agent(t, s, a, box1)
	secret := put(t, s, a, api.NewSecret{Name: "X", Value: text("first"), Resource: box1, ExposeAsEnv: "X"})
	tamper(t, s, `CREATE TABLE kept AS SELECT s.*, t.revision FROM secrets s JOIN tenants t ON t.id = s.tenant_id`)
	for _, value := range []string{"lost", "second"} {
		if _, err := s.RotateSecret(t.Context(), a, secret.ID, Rotation{Value: text(value)}); err != nil {
			t.Fatal(err)
		}
		set, err := s.opened(t.Context(), box, box1)
		if err != nil || len(set) != 1 || set[0].Value.Reveal() != value {
			t.Fatalf("a set of %d instead of %s, %v", len(set), value, err)
		}
		tamper(t, s, `UPDATE secrets SET (version, updated_at, preview, value, mac) = (SELECT version, updated_at, preview, value, mac FROM kept)`)
		tamper(t, s, `UPDATE tenants SET revision = (SELECT revision FROM kept)`)
	}
}
