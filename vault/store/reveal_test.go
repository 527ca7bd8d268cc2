package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

func TestReveal(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	reader := agent(t, s, owner, box1)
	if diff := cmp.Diff(revealed(t, s, reader), map[string]string{}); diff != "" {
		t.Errorf("empty set (-got +want)\n%s", diff)
	}
	z := bound(t, s, owner, "Z_LAST", "z\n\r\n\t\"'\\$`'é🙂")
	bound(t, s, owner, "EMPTY", "")
	bound(t, s, owner, "_FIRST", strings.Repeat("m", api.MaxValueBytes))
	hidden := put(t, s, owner, api.NewSecret{Name: "hidden", Value: text("never enters the sandbox")})
	placeholder := bind(t, s, owner, api.NewBinding{SecretID: hidden.ID, Resource: box1, ExposeAsEnv: "HIDDEN", Delivery: api.DeliverPlaceholder})
	bind(t, s, owner, api.NewBinding{SecretID: hidden.ID, Resource: api.Resource{Type: api.Sandbox, ID: "sb_2"}, ExposeAsEnv: "ELSEWHERE"})

	set, err := s.opened(t.Context(), reader, box1)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range set {
		names = append(names, b.ExposeAsEnv)
	}
	if diff := cmp.Diff(names, []string{"EMPTY", "HIDDEN", "Z_LAST", "_FIRST"}); diff != "" {
		t.Errorf("order (-got +want)\n%s", diff)
	}
	want := map[string]string{"EMPTY": "", "HIDDEN": placeholder.PlaceholderToken, "Z_LAST": "z\n\r\n\t\"'\\$`'é🙂",
		"_FIRST": strings.Repeat("m", api.MaxValueBytes)}
	for _, b := range set {
		if b.Value.Reveal() != want[b.ExposeAsEnv] {
			t.Errorf("%s comes back changed (%d bytes, want %d)", b.ExposeAsEnv, b.Value.Len(), len(want[b.ExposeAsEnv]))
		}
	}
	before, err := s.state(t.Context(), reader, box1)
	if err != nil {
		t.Fatal(err)
	}
	labels := api.Labels(set)
	if diff := cmp.Diff(before, state{labels: labels, etag: api.Etag(box1, labels)}, cmp.AllowUnexported(state{})); diff != "" {
		t.Errorf("state (-got +want)\n%s", diff)
	}
	// A rotation changes only the version in a label.
	if _, err := s.RotateSecret(t.Context(), owner, z.ID, Rotation{Value: text("z2")}); err != nil {
		t.Fatal(err)
	}
	after, err := s.state(t.Context(), reader, box1)
	if err != nil {
		t.Fatal(err)
	}
	labels[2].Version = 2
	if diff := cmp.Diff(after.labels, labels); diff != "" || after.etag == before.etag {
		t.Errorf("etag moved: %v, labels (-got +want)\n%s", after.etag != before.etag, diff)
	}
	if got := revealed(t, s, reader)["Z_LAST"]; got != "z2" {
		t.Errorf("got %q", got)
	}
}

func TestRevealIsAudited(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "CANARY")
	reader := agent(t, s, owner, box1)
	stranger := agent(t, s, owner, api.Resource{Type: api.Sandbox, ID: "sb_2"})

	_, err := s.opened(t.Context(), stranger, box1)
	wantKind(t, err, api.ErrDenied)
	_, err = s.state(t.Context(), stranger, box1)
	wantKind(t, err, api.ErrDenied)
	err = s.Await(t.Context(), stranger, box1, "", time.Minute)
	wantKind(t, err, api.ErrDenied)
	_, err = s.opened(t.Context(), owner, box1)
	wantKind(t, err, api.ErrDenied)
	revealed(t, s, reader)

	events := audited(t, s, owner, actReveal)
	var got [][4]string
	for _, e := range events {
		got = append(got, [4]string{e.Outcome, e.KeyID, e.ResourceID, strconv.FormatInt(e.Count, 10)})
	}
	if diff := cmp.Diff(got, [][4]string{
		{"denied", stranger.KeyID, "sb_1", "3"}, {"denied", owner.KeyID, "sb_1", "1"}, {"ok", reader.KeyID, "sb_1", "1"},
	}); diff != "" {
		t.Fatalf("events (-got +want)\n%s", diff)
	}
	last := events[len(events)-1]
	if len(last.Bindings) != 1 || last.Bindings[0].SecretID != secret.ID || last.Bindings[0].Version != 1 ||
		last.RemoteAddr != "192.0.2.7:4711" || last.RequestID != "req_test" || last.Timestamp.IsZero() {
		t.Errorf("event %+v", last)
	}
	one, err := s.AuditEvent(t.Context(), owner, last.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, last); diff != "" {
		t.Errorf("one event (-got +want)\n%s", diff)
	}
	text, err := json.Marshal(events)
	if err != nil || bytes.Contains(text, []byte("CANARY")) {
		t.Errorf("events hold a value, or %v", err)
	}
}

// A reveal that cannot be audited returns no values.
func TestRevealWithoutAuditIsRefused(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	tamper(t, s, `CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'blocked'); END`)
	set, err := s.opened(t.Context(), reader, box1)
	wantKind(t, err, api.ErrUnavailable)
	var answer *api.Error
	if set != nil || !errors.As(err, &answer) || strings.Contains(answer.Message, "blocked") {
		t.Errorf("set of %d, answer %q", len(set), answer.Message)
	}
	// A change that cannot be audited is not made, and a denial remains a denial.
	if _, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "x", Value: text("v")}, nil); err == nil {
		t.Error("a secret was stored without an audit event")
	}
	_, err = s.opened(t.Context(), owner, box1)
	wantKind(t, err, api.ErrDenied)
	tamper(t, s, `DROP TRIGGER no_audit`)
	if diff := cmp.Diff(revealed(t, s, reader), map[string]string{"TOKEN": "v"}); diff != "" {
		t.Errorf("set (-got +want)\n%s", diff)
	}
	if list, _, err := s.Secrets(t.Context(), owner, SecretFilter{}); err != nil || len(list) != 1 {
		t.Errorf("%d secrets, %v; want 1", len(list), err)
	}
}

// A key that another process has just revoked gets that error, not one about the set.
func TestRevealWithAKeyRevokedElsewhere(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	for _, tt := range []struct{ name, damage string }{
		{"whole set", `SELECT 1`},
		{"a value that doesn't open", `UPDATE secrets SET value = x'00'`},
		{"a keyset that doesn't open", `UPDATE tenants SET keyset = x'00', generation = generation + 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := storeAt(t, dir)
			owner := tenant(t, s, "acme")
			bound(t, s, owner, "TOKEN", "v")
			reader := agent(t, s, owner, box1)
			tamper(t, s, tt.damage)
			if err := storeAt(t, dir).RevokeKey(t.Context(), reader.KeyID); err != nil {
				t.Fatal(err)
			}
			_, err := s.opened(t.Context(), reader, box1)
			wantKind(t, err, api.ErrUnauthorized)
		})
	}
}

func TestExpiredSecretsLeaveTheSet(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	reader := agent(t, s, owner, box1)
	bound(t, s, owner, "STAYS", "v")
	soon := in(2 * time.Second)
	for _, p := range []api.NewSecret{
		{Name: "LATER", Value: text("v"), ExpiresAt: in(time.Hour)},
		{Name: "SOON", Value: text("v"), ExpiresAt: soon},
		{Name: "GONE", Value: text("v"), ExpiresAt: in(-time.Second)},
	} {
		bind(t, s, owner, api.NewBinding{SecretID: put(t, s, owner, p).ID, Resource: box1, ExposeAsEnv: p.Name})
	}
	before, err := s.state(t.Context(), reader, box1)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(before.labels); n != 3 || before.nextExpiry == nil || !before.nextExpiry.Equal(soon.UTC().Truncate(time.Microsecond)) {
		t.Fatalf("%d labels, next change %v; want 3, %v", n, before.nextExpiry, soon)
	}
	// Nobody writes: the waiting reveal notices by itself.
	if err := s.Await(t.Context(), reader, box1, before.etag, time.Minute); err != nil {
		t.Fatal(err)
	}
	after, err := s.state(t.Context(), reader, box1)
	if err != nil {
		t.Fatal(err)
	}
	if time.Now().Before(*soon) || len(after.labels) != 2 || after.etag == before.etag {
		t.Errorf("%d labels, %s before the expiry", len(after.labels), time.Until(*soon))
	}
	if diff := cmp.Diff(revealed(t, s, reader), map[string]string{"STAYS": "v", "LATER": "v"}); diff != "" {
		t.Errorf("set (-got +want)\n%s", diff)
	}
}

// FuzzValueComesBack: any text is either stored and revealed byte for byte, or refused as invalid.
func FuzzValueComesBack(f *testing.F) {
	for _, seed := range []string{"", "v", "\x00", "\xff", "a\r\n", "\u2028", "🙂", strings.Repeat("k", 5000), " leading", "trailing ", "007", "+5", "{}", "null"} {
		f.Add(seed)
	}
	s := newStore(f)
	owner := tenant(f, s, "acme")
	secret := bound(f, s, owner, "TOKEN", "")
	reader := agent(f, s, owner, box1)
	f.Fuzz(func(t *testing.T, value string) {
		_, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text(value)})
		refused := errors.Is(err, api.ErrInvalid)
		if bad := strings.Contains(value, "\x00") || !utf8.ValidString(value) || len(value) > api.MaxValueBytes; bad != refused || err != nil && !refused {
			t.Fatalf("%q: %v", value, err)
		}
		if got := revealed(t, s, reader)["TOKEN"]; !refused && got != value {
			t.Fatalf("got %q, want %q", got, value)
		}
	})
}
