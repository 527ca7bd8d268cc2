package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

func TestAuthenticate(t *testing.T) {
	s := newStore(t)
	minted, err := s.CreateTenantKey(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	owner := actorOf(t, s, minted.Key)
	if owner.KeyID != minted.ID || owner.TenantID == "" || owner.Resource != (api.Resource{}) || owner.ExpiresAt != nil {
		t.Errorf("tenant key stands for %+v", owner)
	}
	key := func(r api.Resource, expires *time.Time) (api.Key, string) {
		t.Helper()
		k, err := s.CreateResourceKey(t.Context(), owner, r, expires)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := api.ParseKey(k.Key)
		if err != nil {
			t.Fatal(err)
		}
		return parsed, k.ID
	}
	expires := in(time.Hour)
	good, goodID := key(box1, expires)
	revoked, revokedID := key(box1, nil)
	short, _ := key(box1, in(time.Second))
	if a := actorOf(t, s, good); a.KeyID != goodID || a.TenantID != owner.TenantID || a.Resource != box1 ||
		!a.ExpiresAt.Equal(expires.UTC().Truncate(time.Microsecond)) {
		t.Errorf("resource key stands for %+v", a)
	}
	if err := s.RevokeResourceKey(t.Context(), owner, revokedID); err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeResourceKey(t.Context(), owner, revokedID); err != nil {
		t.Errorf("revoked twice: %v", err)
	}
	refused := func(k api.Key) func() bool {
		return func() bool { _, err := s.Authenticate(t.Context(), k.Reveal()); return errors.Is(err, errKey) }
	}
	if !refused(revoked)() || !refused(api.NewKey(api.ResourceKeyPrefix))() || !refused(api.Key{})() {
		t.Error("a revoked, unknown or empty key was accepted")
	}
	poll.Until(t, 30*time.Second, "expired", refused(short))

	another, err := s.CreateTenantKey(t.Context(), "acme")
	if err != nil || actorOf(t, s, another.Key).TenantID != owner.TenantID || another.ID == minted.ID {
		t.Errorf("a second key of the tenant: %+v, %v", another.ID, err)
	}
	for _, name := range []string{"", "a b", "-a", "a/b", "é"} {
		_, err := s.CreateTenantKey(t.Context(), name)
		wantKind(t, err, api.ErrInvalid)
	}
	_, err = s.CreateResourceKey(t.Context(), owner, api.Resource{Type: "toaster", ID: "x"}, nil)
	wantKind(t, err, api.ErrInvalid)
	_, err = s.CreateResourceKey(t.Context(), owner, box1, in(-time.Second))
	wantKind(t, err, api.ErrInvalid)
}

func TestKeysOfATenant(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	mine := agent(t, s, owner, box1)
	theirs := agent(t, s, other, box1)
	list, _, err := s.ResourceKeys(t.Context(), owner, KeyFilter{})
	if err != nil || len(list) != 1 || list[0].ID != mine.KeyID || list[0].Key != "" || list[0].RevokedAt != nil || list[0].Resource != box1 {
		t.Errorf("keys %+v, %v", list, err)
	}
	if list, _, err := s.ResourceKeys(t.Context(), owner, KeyFilter{ResourceType: api.Computer}); err != nil || len(list) != 0 {
		t.Errorf("keys of computers %+v, %v", list, err)
	}
	wantKind(t, s.RevokeResourceKey(t.Context(), owner, theirs.KeyID), api.ErrNotFound)
	wantKind(t, s.RevokeResourceKey(t.Context(), owner, owner.KeyID), api.ErrNotFound) // a tenant key is not a resource key

	all, err := s.Keys(t.Context(), "")
	if err != nil || len(all) != 4 {
		t.Errorf("%d keys, %v; want 4", len(all), err)
	}
	local, err := s.LocalActor(t.Context(), "other")
	if err != nil || local.TenantID != other.TenantID {
		t.Errorf("local actor %+v, %v", local, err)
	}
	_, err = s.LocalActor(t.Context(), "nobody")
	wantKind(t, err, api.ErrNotFound)
	if err := s.RevokeKey(t.Context(), theirs.KeyID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.RevokeKey(t.Context(), "key_none"), api.ErrNotFound)
	ofOther, err := s.Keys(t.Context(), "other")
	if err != nil || len(ofOther) != 2 || ofOther[1].RevokedAt == nil || ofOther[0].Resource != (api.Resource{}) || ofOther[1].TenantName != "other" {
		t.Errorf("keys of other %+v, %v", ofOther, err)
	}
	// Revoked by the command line.
	events := audited(t, s, other, actKeyRevoke)
	if len(events) != 1 || events[0].KeyID != operator.KeyID || events[0].TargetKeyID != theirs.KeyID {
		t.Errorf("events %+v", events)
	}
	// Revoking a tenant key also invalidates actors that were authenticated with it.
	if err := s.RevokeKey(t.Context(), owner.KeyID); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Secrets(t.Context(), owner, SecretFilter{})
	wantKind(t, err, api.ErrUnauthorized)
	_, _, _, err = s.PutSecret(t.Context(), owner, api.NewSecret{Name: "n", Value: text("v")}, nil)
	wantKind(t, err, api.ErrUnauthorized)
}

// attempt is a method call of the API with an id that may belong to another tenant.
type attempt struct {
	name string
	do   func(s *Store, a Actor) error
}

func attemptsOn(t *testing.T, secretID, bindingID, keyID, eventID string) []attempt {
	ctx := t.Context()
	return []attempt{
		{"secret", func(s *Store, a Actor) error { _, err := s.Secret(ctx, a, secretID); return err }},
		{"rotate", func(s *Store, a Actor) error {
			_, err := s.RotateSecret(ctx, a, secretID, Rotation{Value: text("x")})
			return err
		}},
		{"bind", func(s *Store, a Actor) error {
			_, _, err := s.CreateBinding(ctx, a, api.NewBinding{SecretID: secretID, Resource: box1, ExposeAsEnv: "MINE"})
			return err
		}},
		{"unbind", func(s *Store, a Actor) error { return s.DeleteBinding(ctx, a, bindingID) }},
		{"delete", func(s *Store, a Actor) error { return s.DeleteSecret(ctx, a, secretID) }},
		{"revoke", func(s *Store, a Actor) error { return s.RevokeResourceKey(ctx, a, keyID) }},
		{"event", func(s *Store, a Actor) error { _, err := s.AuditEvent(ctx, a, eventID); return err }},
	}
}

func TestForeignIDsAreNotFound(t *testing.T) {
	s := newStore(t)
	owner, foreign := tenant(t, s, "acme"), tenant(t, s, "foreign")
	secret := bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	foreignReader := agent(t, s, foreign, box1) // of a resource with the same name
	list, _, err := s.Bindings(t.Context(), owner, BindingFilter{})
	if err != nil {
		t.Fatal(err)
	}
	event := audited(t, s, owner, actSecretCreate)[0]
	for _, c := range attemptsOn(t, secret.ID, list[0].ID, reader.KeyID, event.ID) {
		t.Run(c.name, func(t *testing.T) { wantKind(t, c.do(s, foreign), api.ErrNotFound) })
	}
	if diff := cmp.Diff(revealed(t, s, foreignReader), map[string]string{}); diff != "" {
		t.Errorf("the foreign reader's set (-got +want)\n%s", diff)
	}
	for name, n := range map[string]func() (int, error){
		"secrets": func() (int, error) { l, _, err := s.Secrets(t.Context(), foreign, SecretFilter{}); return len(l), err },
		"bindings": func() (int, error) {
			l, _, err := s.Bindings(t.Context(), foreign, BindingFilter{})
			return len(l), err
		},
		"events": func() (int, error) {
			l, _, err := s.Audit(t.Context(), foreign, AuditFilter{Action: actSecretCreate})
			return len(l), err
		},
	} {
		if got, err := n(); got != 0 || err != nil {
			t.Errorf("the foreign tenant sees %d %s, %v", got, name, err)
		}
	}
	if diff := cmp.Diff(revealed(t, s, reader), map[string]string{"TOKEN": "v"}); diff != "" {
		t.Errorf("the owner's set afterwards (-got +want)\n%s", diff)
	}
}

func TestResourceKeysMayOnlyListAndReveal(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	ctx := t.Context()
	calls := append(attemptsOn(t, secret.ID, "bnd_x", reader.KeyID, "evt_x"),
		attempt{"put", func(s *Store, a Actor) error {
			_, _, _, err := s.PutSecret(ctx, a, api.NewSecret{Name: "n", Value: text("v")}, nil)
			return err
		}},
		attempt{"secrets", func(s *Store, a Actor) error { _, _, err := s.Secrets(ctx, a, SecretFilter{}); return err }},
		attempt{"keys", func(s *Store, a Actor) error { _, _, err := s.ResourceKeys(ctx, a, KeyFilter{}); return err }},
		attempt{"mint", func(s *Store, a Actor) error { _, err := s.CreateResourceKey(ctx, a, box1, nil); return err }},
		attempt{"audit", func(s *Store, a Actor) error { _, _, err := s.Audit(ctx, a, AuditFilter{}); return err }},
	)
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) { wantKind(t, c.do(s, reader), api.ErrDenied) })
	}
	events, _, err := s.Audit(ctx, owner, AuditFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	denied := int64(0)
	for _, e := range events {
		if e.Outcome == api.OutcomeDenied && e.KeyID == reader.KeyID && e.ResourceID == "sb_1" {
			denied += e.Count
		}
	}
	if denied != int64(len(calls)) {
		t.Errorf("%d denials audited, want %d", denied, len(calls))
	}
}

// The kind of a key is checked before anything else about a call.
func TestKindOfKeyIsCheckedFirst(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	reader := agent(t, s, owner, box1)
	ctx := t.Context()
	for _, tt := range []struct {
		name    string
		invalid func() error
	}{
		{"put", func() error { _, _, _, err := s.PutSecret(ctx, reader, api.NewSecret{}, nil); return err }},
		{"rotate", func() error { _, err := s.RotateSecret(ctx, reader, "sec_x", Rotation{}); return err }},
		{"bind", func() error { _, _, err := s.CreateBinding(ctx, reader, api.NewBinding{}); return err }},
		{"mint", func() error { _, err := s.CreateResourceKey(ctx, reader, api.Resource{}, nil); return err }},
		{"secrets", func() error { _, _, err := s.Secrets(ctx, reader, SecretFilter{Page: Page{Cursor: "x"}}); return err }},
		{"audit", func() error { _, _, err := s.Audit(ctx, reader, AuditFilter{Limit: -1}); return err }},
		{"reveal", func() error { _, err := s.state(ctx, owner, api.Resource{}); return err }},
	} {
		t.Run(tt.name, func(t *testing.T) { wantKind(t, tt.invalid(), api.ErrDenied) })
	}
}

func TestAuditPages(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	for i := range 24 {
		put(t, s, owner, api.NewSecret{Name: itoa(i), Value: text("v")})
	}
	pages := func(f AuditFilter) (ids []string) {
		t.Helper()
		f.Limit = 10
		for {
			events, next, err := s.Audit(t.Context(), owner, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				ids = append(ids, e.ID)
			}
			if next == "" {
				return ids
			}
			f.Cursor = next
		}
	}
	back, forth := pages(AuditFilter{}), pages(AuditFilter{Since: &time.Time{}})
	if len(back) != 25 || len(forth) != 25 { // including the creation of the key
		t.Fatalf("%d events back, %d forth; want 25", len(back), len(forth))
	}
	for i := range back {
		if back[i] != forth[len(forth)-1-i] {
			t.Fatal("the two orders differ")
		}
	}
	middle, err := s.AuditEvent(t.Context(), owner, forth[12])
	if err != nil {
		t.Fatal(err)
	}
	if got := pages(AuditFilter{Since: &middle.Timestamp}); got[0] != middle.ID || len(got) != 13 {
		t.Errorf("%d events since the 13th", len(got))
	}
	if got := pages(AuditFilter{Until: &middle.Timestamp}); got[0] != forth[11] || len(got) != 12 {
		t.Errorf("%d events until the 13th", len(got))
	}
	for _, f := range []AuditFilter{{Limit: 1001}, {Limit: -1}, {Cursor: "x"}, {Cursor: "f"}, {Cursor: "f-1"}, {Cursor: "bé"}} {
		_, _, err := s.Audit(t.Context(), owner, f)
		wantKind(t, err, api.ErrInvalid)
	}
}
