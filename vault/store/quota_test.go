package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// limitedTo opens a store with limits.
func limitedTo(t *testing.T, v limit.Values) *Store {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{DataDir: dir, RootKey: rootAt(t, dir), Limits: v})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// only is one limit; others have their defaults.
func only(id limit.ID, value float64) (v limit.Values) {
	v[id] = value
	return v
}

// wantLimit checks that err is a refusal by a limit, which its message names.
func wantLimit(t *testing.T, err error, kind *api.Kind, name string) {
	t.Helper()
	refused, ok := errors.AsType[*api.Error](err)
	if !ok || refused.Kind != kind || refused.Limit != name || !strings.Contains(refused.Message, "(limit "+name+": ") {
		t.Errorf("got %v, want a refusal by %s", err, name)
	}
}

// wantUsage compares the counted usage of a tenant with its rows.
func wantUsage(t *testing.T, s *Store, tenant string) {
	t.Helper()
	var counted, stored usage
	look(t, s, &counted.secrets, `SELECT secrets FROM tenant_usage WHERE tenant_id = $1`, tenant)
	look(t, s, &counted.bindings, `SELECT bindings FROM tenant_usage WHERE tenant_id = $1`, tenant)
	look(t, s, &counted.bytes, `SELECT bytes FROM tenant_usage WHERE tenant_id = $1`, tenant)
	look(t, s, &stored.secrets, `SELECT COUNT(*) FROM secrets WHERE tenant_id = $1`, tenant)
	look(t, s, &stored.bindings, `SELECT COUNT(*) FROM bindings WHERE tenant_id = $1`, tenant)
	look(t, s, &stored.bytes, `SELECT COALESCE(SUM(OCTET_LENGTH(value) + COALESCE(OCTET_LENGTH(refresh_token), 0) + OCTET_LENGTH(metadata) + OCTET_LENGTH(egress)), 0)
		+ (SELECT COALESCE(SUM(OCTET_LENGTH(egress)), 0) FROM bindings WHERE tenant_id = $1) FROM secrets WHERE tenant_id = $1`, tenant)
	if diff := cmp.Diff(counted, stored, cmp.AllowUnexported(usage{})); diff != "" {
		t.Errorf("usage (-counted +stored):\n%s", diff)
	}
}

// What a tenant stores is limited. The error names the limit, nothing is stored, and deleting something makes room. Other
// tenants and the operator are not affected.
func TestAttack_ATenantStoresTooMuch(t *testing.T) {
	for _, c := range []struct {
		limit limit.ID
		most  float64
		add   func(s *Store, a Actor, i int) (id string, err error)
		undo  func(s *Store, a Actor, id string) error
	}{
		{limit.TenantSecrets, 3, func(s *Store, a Actor, i int) (string, error) {
			secret, _, _, err := s.PutSecret(t.Context(), a, api.NewSecret{Name: fmt.Sprint("s", i), Value: text("v")}, nil)
			return secret.ID, err
		}, func(s *Store, a Actor, id string) error { return s.DeleteSecret(t.Context(), a, id) }},
		{limit.TenantBindings, 3, func(s *Store, a Actor, i int) (string, error) {
			secret, _, _, err := s.PutSecret(t.Context(), a, api.NewSecret{Name: "s", Value: text("v")}, nil)
			if err != nil {
				return "", err
			}
			b, _, err := s.CreateBinding(t.Context(), a, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: fmt.Sprint("V", i)})
			return b.ID, err
		}, func(s *Store, a Actor, id string) error { return s.DeleteBinding(t.Context(), a, id) }},
		{limit.TenantKeys, 4, func(s *Store, a Actor, _ int) (string, error) { // one is the tenant's own
			k, err := s.CreateResourceKey(t.Context(), a, box1, nil)
			return k.ID, err
		}, func(s *Store, a Actor, id string) error { return s.RevokeResourceKey(t.Context(), a, id) }},
		{limit.TenantBytes, 3500, func(s *Store, a Actor, i int) (string, error) {
			secret, _, _, err := s.PutSecret(t.Context(), a, api.NewSecret{Name: fmt.Sprint("s", i), Value: text(strings.Repeat("v", 1000))}, nil)
			return secret.ID, err
		}, func(s *Store, a Actor, id string) error { return s.DeleteSecret(t.Context(), a, id) }},
	} {
		t.Run(c.limit.String(), func(t *testing.T) {
			s := limitedTo(t, only(c.limit, c.most))
			owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
			var ids []string
			for i := range 3 {
				id, err := c.add(s, owner, i)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			_, err := c.add(s, owner, 3)
			wantLimit(t, err, api.ErrInvalid, c.limit.String())
			wantUsage(t, s, owner.TenantID)
			if _, err := c.add(s, other, 0); err != nil {
				t.Error("another tenant:", err)
			}
			if err := c.undo(s, owner, ids[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := c.add(s, owner, 3); err != nil {
				t.Error("after making room:", err)
			}
			wantUsage(t, s, owner.TenantID)
			operator, err := s.LocalActor(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.add(s, operator, 4); err != nil {
				t.Error("the operator:", err)
			}
		})
	}
}

func TestTenantFlowsAreLimited(t *testing.T) {
	s := limitedTo(t, limit.Values{limit.TenantFlows: 2})
	owner := tenant(t, s, "acme")
	add := func() error {
		f, state, err := NewFlow(owner, "github", "https://vault.example.com", Wanted{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return s.AddFlow(t.Context(), owner, f, state)
	}
	for range 2 {
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	wantLimit(t, add(), api.ErrInvalid, "tenant_flows")
}

// Each kind of change counts what it adds and removes. A rotation beyond the limit of bytes is refused, one to a shorter value is not.
func TestUsageIsThatOfTheRows(t *testing.T) {
	s := limitedTo(t, limit.Values{limit.TenantBytes: 10_000})
	owner := tenant(t, s, "acme")
	a := put(t, s, owner, api.NewSecret{Name: "a", Value: text("v"), RefreshToken: text("r"), Metadata: []byte(`{"é":1}`), Resource: box1, ExposeAsEnv: "A"})
	b := put(t, s, owner, api.NewSecret{Name: "b", Value: text("longer"), Resource: box1, ExposeAsEnv: "B"})
	wantUsage(t, s, owner.TenantID)
	put(t, s, owner, api.NewSecret{Name: "a", Value: text("another value"), Resource: box1, ExposeAsEnv: "A"})
	wantUsage(t, s, owner.TenantID)
	rotate := func(n int) error {
		_, err := s.RotateSecret(t.Context(), owner, b.ID, Rotation{Value: text(strings.Repeat("v", n))})
		return err
	}
	if err := rotate(9_000); err != nil {
		t.Fatal(err)
	}
	wantLimit(t, rotate(10_000), api.ErrInvalid, "tenant_bytes")
	wantUsage(t, s, owner.TenantID)
	if err := rotate(10); err != nil {
		t.Error("a shorter value:", err)
	}
	if _, err := s.RotateKeys(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, s, owner.TenantID)
	if err := s.DeleteSecret(t.Context(), owner, a.ID); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, s, owner.TenantID)
}

// A database of schema 2 gets the usage of its rows.
func TestUsageOfAnOldDatabase(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "A", "value")
	put(t, s, owner, api.NewSecret{Name: "b", Value: text("v"), RefreshToken: text("r"), Metadata: []byte(`{"é":1}`)})
	empty := tenant(t, s, "empty")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	downgrade(t, dir)
	s = storeAt(t, dir)
	wantUsage(t, s, owner.TenantID)
	wantUsage(t, s, empty.TenantID)
	bound(t, s, empty, "A", "value")
	wantUsage(t, s, empty.TenantID)
}

// A set that clients don't accept is refused when it is bound, or when a value becomes that long.
func TestSetsThatClientsDontAccept(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	long := text(strings.Repeat("v", api.MaxValueBytes))
	var last api.Secret
	for i := range 11 {
		last = put(t, s, owner, api.NewSecret{Name: fmt.Sprint("s", i), Value: long, Resource: box1, ExposeAsEnv: fmt.Sprint("S", i)})
	}
	small := put(t, s, owner, api.NewSecret{Name: "small", Value: text("v"), Resource: box1, ExposeAsEnv: "SMALL"})
	twelfth := put(t, s, owner, api.NewSecret{Name: "twelfth", Value: long})
	const want = "the set of sandbox:sb_1 would have "
	refused := func(err error) {
		t.Helper()
		wantKind(t, err, api.ErrInvalid)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "more than the 12578816 that clients accept") {
			t.Errorf("got %v", err)
		}
	}
	bind := func(delivery string) error {
		_, _, err := s.CreateBinding(t.Context(), owner, api.NewBinding{SecretID: twelfth.ID, Resource: box1, ExposeAsEnv: "TWELFTH", Delivery: delivery})
		return err
	}
	refused(bind(""))
	_, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "other", Value: long, Resource: box1, ExposeAsEnv: "OTHER"}, nil)
	refused(err)
	_, err = s.RotateSecret(t.Context(), owner, small.ID, Rotation{Value: long})
	refused(err)
	if err := bind(api.DeliverPlaceholder); err != nil {
		t.Error("a placeholder:", err)
	}
	if _, err := s.RotateSecret(t.Context(), owner, last.ID, Rotation{Value: text("short")}); err != nil {
		t.Error("a shorter value:", err)
	}
	answer, err := s.opened(t.Context(), agent(t, s, owner, box1), box1)
	if err != nil || len(answer) != 13 {
		t.Errorf("revealed %d values, %v", len(answer), err)
	}
	wantUsage(t, s, owner.TenantID)
}

// The largest set that can be bound has an answer that clients accept.
func TestTheLargestSetIsAccepted(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	name := strings.Repeat("\"", maxName) // the longest when it is encoded
	for i := range 11 {
		put(t, s, owner, api.NewSecret{Name: name, WorkspaceID: fmt.Sprint(i), Value: text(strings.Repeat("v", api.MaxValueBytes)), Resource: box1,
			ExposeAsEnv: "E" + strings.Repeat("x", 250) + fmt.Sprint(i)})
	}
	rest := 12578816 - 11*(api.MaxValueBytes+labelBytes+64) - labelBytes - 64
	put(t, s, owner, api.NewSecret{Name: name, Value: text(strings.Repeat("v", rest)), Resource: box1, ExposeAsEnv: "REST"})
	opener, err := api.NewOpener(box1)
	if err != nil {
		t.Fatal(err)
	}
	to, err := api.NewSealer(box1, opener.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.opened(t.Context(), agent(t, s, owner, box1), box1)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := to.Seal(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(answer.AppendJSON(nil)); n > api.MaxRevealAnswer {
		t.Errorf("the answer has %d bytes, at most %d", n, api.MaxRevealAnswer)
	}
}

// What is invalid is refused without the write lock, so it doesn't wait for other writes.
func TestInvalidRequestsDontWaitForTheWriter(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	release := blockWrites(t, s)
	defer release()
	for name, refused := range map[string]func() error{
		"secret": func() error {
			_, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "a"}, nil)
			return err
		},
		"rotate": func() error { _, err := s.RotateSecret(t.Context(), owner, "sec_1", Rotation{}); return err },
		"binding": func() error {
			_, _, err := s.CreateBinding(t.Context(), owner, api.NewBinding{SecretID: "sec_1"})
			return err
		},
		"key": func() error {
			_, err := s.CreateResourceKey(t.Context(), owner, api.Resource{Type: "vm"}, nil)
			return err
		},
	} {
		done := make(chan error, 1)
		go func() { done <- refused() }()
		select {
		case err := <-done:
			wantKind(t, err, api.ErrInvalid)
		case <-time.After(10 * time.Second):
			t.Errorf("%s: waits for the writer", name)
		}
	}
}

// Writes and events have rates per tenant, whatever the number of keys.
func TestAttack_WritesAndEventsHaveRates(t *testing.T) {
	for id, do := range map[limit.ID]func(s *Store, owner, reader Actor) error{
		limit.TenantWrites: func(s *Store, owner, _ Actor) error {
			_, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "a", Value: text("v")}, nil)
			return err
		},
		limit.TenantEvents: func(s *Store, _, reader Actor) error { _, err := s.opened(t.Context(), reader, box1); return err },
		limit.Events: func(s *Store, owner, _ Actor) error { // denied attempts cause events too
			if _, err := s.opened(t.Context(), owner, box1); !errors.Is(err, api.ErrDenied) {
				return err
			}
			return nil
		},
	} {
		t.Run(id.String(), func(t *testing.T) {
			s := limitedTo(t, only(id, 0.01)) // one at once
			owner := tenant(t, s, "acme")
			operator, err := s.LocalActor(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			k, err := s.CreateResourceKey(t.Context(), operator, box1, nil)
			if err != nil {
				t.Fatal(err)
			}
			key, err := api.ParseKey(k.Key)
			if err != nil {
				t.Fatal(err)
			}
			reader := actorOf(t, s, key)
			if err := do(s, owner, reader); err != nil {
				t.Fatal(err)
			}
			wantLimit(t, do(s, owner, reader), api.ErrRateLimited, id.String())
		})
	}
}
