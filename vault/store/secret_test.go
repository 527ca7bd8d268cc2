package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/api"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestPutSecret(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	expires := time.Date(2040, 1, 2, 3, 4, 5, 678_000, time.UTC)
	str := func(s string) *string { return &s }
	tests := []struct {
		name string
		put  api.NewSecret
		want api.Secret
	}{
		{name: "least", put: api.NewSecret{Name: "n", Value: text("")}, want: api.Secret{
			Name: "n", Type: "api_key", Scope: "user", MaskedValue: "********", Preview: "********",
			Metadata: json.RawMessage("{}"), Version: 1}},
		{name: "most", put: api.NewSecret{Name: "n", Value: text("sk-abcdefghijklmnopqrstuvwxyz-0123456789"), Type: "bearer", Scope: "workspace",
			WorkspaceID: "w", OwnerUserID: "o", ExternalUserID: "xu", ExternalWorkspaceID: "xw", Resource: box1,
			RefreshToken: text("refresh"), ExpiresAt: &expires, Metadata: json.RawMessage(` { "a" : [1, 2.50] } `)}, want: api.Secret{
			Name: "n", Type: "bearer", Scope: "workspace", WorkspaceID: str("w"), OwnerUserID: str("o"), ExternalUserID: str("xu"),
			ExternalWorkspaceID: str("xw"), ResourceType: str("sandbox"), ResourceID: str("sb_1"),
			MaskedValue: "sk-abc...6789", Preview: "sk-abc...6789", ExpiresAt: &expires, Metadata: json.RawMessage(`{"a":[1,2.50]}`), Version: 1}},
		{name: "any type", put: api.NewSecret{Name: "n2", Type: "our own word", Value: text("v"), Metadata: json.RawMessage("null")}, want: api.Secret{
			Name: "n2", Type: "our own word", Scope: "user", MaskedValue: "********", Preview: "********",
			Metadata: json.RawMessage("{}"), Version: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, binding, created, err := s.PutSecret(t.Context(), owner, tt.put, nil)
			if err != nil || !created || binding != nil {
				t.Fatalf("created %v, binding %v, %v", created, binding, err)
			}
			if diff := cmp.Diff(got, tt.want, cmpopts.IgnoreFields(api.Secret{}, "ID", "CreatedAt", "UpdatedAt")); diff != "" {
				t.Errorf("secret (-got +want)\n%s", diff)
			}
			if !strings.HasPrefix(got.ID, "sec_") || got.CreatedAt.IsZero() || !got.CreatedAt.Equal(got.UpdatedAt) {
				t.Errorf("id %q, created %s, updated %s", got.ID, got.CreatedAt, got.UpdatedAt)
			}
			read, err := s.Secret(t.Context(), owner, got.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(read, got); diff != "" {
				t.Errorf("read back (-got +want)\n%s", diff)
			}
		})
	}
}

func TestPutSecretRefuses(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	long := strings.Repeat("x", 257)
	tests := []struct {
		name, names string // what the message must name
		change      func(*api.NewSecret)
	}{
		{"no name", "name", func(p *api.NewSecret) { p.Name = "" }},
		{"long name", "name", func(p *api.NewSecret) { p.Name = long }},
		{"control character", "name", func(p *api.NewSecret) { p.Name = "a\nb" }},
		{"not text", "name", func(p *api.NewSecret) { p.Name = "\xff" }},
		{"no value", "value", func(p *api.NewSecret) { p.Value = api.Value{} }},
		{"NUL in value", "value", func(p *api.NewSecret) { p.Value = text("CANARY\x00") }},
		{"binary value", "value", func(p *api.NewSecret) { p.Value = text("CANARY\xff") }},
		{"value a byte too long", "value", func(p *api.NewSecret) { p.Value = text(strings.Repeat("x", api.MaxValueBytes+1)) }},
		{"NUL in refresh token", "refresh_token", func(p *api.NewSecret) { p.RefreshToken = text("\x00") }},
		{"long type", "type", func(p *api.NewSecret) { p.Type = long }},
		{"unknown scope", "scope", func(p *api.NewSecret) { p.Scope = "galaxy" }},
		{"long workspace", "workspace_id", func(p *api.NewSecret) { p.WorkspaceID = long }},
		{"long owner", "owner_user_id", func(p *api.NewSecret) { p.OwnerUserID = long }},
		{"long external user", "external_user_id", func(p *api.NewSecret) { p.ExternalUserID = long }},
		{"long external workspace", "external_workspace_id", func(p *api.NewSecret) { p.ExternalWorkspaceID = long }},
		{"resource without type", "resource_type", func(p *api.NewSecret) { p.Resource.ID = "sb_1" }},
		{"resource without id", "resource_id", func(p *api.NewSecret) { p.Resource.Type = "sandbox" }},
		{"unknown resource type", "resource_type", func(p *api.NewSecret) { p.Resource = api.Resource{Type: "toaster", ID: "x"} }},
		{"env name with dash", "expose_as_env", func(p *api.NewSecret) { p.ExposeAsEnv = "A-B" }},
		{"env name with digit first", "expose_as_env", func(p *api.NewSecret) { p.ExposeAsEnv = "1A" }},
		{"env name with newline", "expose_as_env", func(p *api.NewSecret) { p.ExposeAsEnv = "A\n" }},
		{"env name too long", "expose_as_env", func(p *api.NewSecret) { p.ExposeAsEnv = long }},
		{"unknown delivery", "delivery", func(p *api.NewSecret) { p.Delivery = "pigeon" }},
		{"metadata is a list", "metadata", func(p *api.NewSecret) { p.Metadata = json.RawMessage("[]") }},
		{"metadata is broken", "metadata", func(p *api.NewSecret) { p.Metadata = json.RawMessage("{") }},
		{"metadata is large", "metadata", func(p *api.NewSecret) {
			p.Metadata = json.RawMessage(`{"a":"` + strings.Repeat("x", maxMetadata) + `"}`)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := api.NewSecret{Name: "n", Value: text("v")}
			tt.change(&p)
			_, _, _, err := s.PutSecret(t.Context(), owner, p, nil)
			wantKind(t, err, api.ErrInvalid)
			if message := err.Error(); !strings.HasPrefix(message, tt.names) || strings.Contains(message, "CANARY") {
				t.Errorf("message %q must name %s and repeat no value", message, tt.names)
			}
		})
	}
	if list, _, err := s.Secrets(t.Context(), owner, SecretFilter{}); err != nil || len(list) != 0 {
		t.Errorf("%d secrets, %v; want none", len(list), err)
	}
}

func TestUpsertKey(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	base := api.NewSecret{Name: "n", Value: text("v"), Resource: box1}
	first := put(t, s, owner, base)
	tests := []struct {
		name   string
		change func(*api.NewSecret)
		same   bool
	}{
		{"unchanged", func(*api.NewSecret) {}, true},
		{"other type", func(p *api.NewSecret) { p.Type = "bearer" }, true},
		{"other metadata", func(p *api.NewSecret) { p.Metadata = json.RawMessage(`{"a":1}`) }, true},
		{"scope spelled out", func(p *api.NewSecret) { p.Scope = "user" }, true},
		{"other name", func(p *api.NewSecret) { p.Name = "m" }, false},
		{"other scope", func(p *api.NewSecret) { p.Scope = "tenant" }, false},
		{"workspace", func(p *api.NewSecret) { p.WorkspaceID = "x" }, false},
		{"owner", func(p *api.NewSecret) { p.OwnerUserID = "x" }, false},
		{"external user", func(p *api.NewSecret) { p.ExternalUserID = "x" }, false},
		{"external workspace", func(p *api.NewSecret) { p.ExternalWorkspaceID = "x" }, false},
		{"other resource", func(p *api.NewSecret) { p.Resource.ID = "sb_2" }, false},
		{"other resource type", func(p *api.NewSecret) { p.Resource.Type = "computer" }, false},
		{"no resource", func(p *api.NewSecret) { p.Resource = api.Resource{} }, false},
	}
	version := first.Version
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := base
			tt.change(&p)
			got, _, created, err := s.PutSecret(t.Context(), owner, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			if same := got.ID == first.ID; same != tt.same || created == tt.same {
				t.Fatalf("same secret: %v, created: %v; want same %v", same, created, tt.same)
			}
			if tt.same {
				version++
				if got.Version != version || !got.CreatedAt.Equal(first.CreatedAt) {
					t.Errorf("version %d, created %s; want %d, %s", got.Version, got.CreatedAt, version, first.CreatedAt)
				}
			}
		})
	}
	if got := put(t, s, other, base); got.ID == first.ID || got.Version != 1 {
		t.Errorf("another tenant's upsert reached %s, version %d", got.ID, got.Version)
	}
}

func TestRotateSecret(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	later, past := in(time.Hour), in(-time.Hour)
	tests := []struct {
		name        string
		had         *time.Time
		rotation    Rotation
		wantExpires bool
	}{
		{"keeps what is to come", later, Rotation{}, true},
		{"drops what has passed", past, Rotation{}, false},
		{"none stays none", nil, Rotation{}, false},
		{"takes a new one", past, Rotation{ExpiresAt: later}, true},
		{"drops on request", later, Rotation{NeverExpires: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := put(t, s, owner, api.NewSecret{Name: tt.name, Value: text("old"), ExpiresAt: tt.had, Metadata: json.RawMessage(`{"k":1}`)})
			tt.rotation.Value = text("a new value that is long enough to show")
			got, err := s.RotateSecret(t.Context(), owner, before.ID, tt.rotation)
			if err != nil {
				t.Fatal(err)
			}
			if got.Version != 2 || got.Preview != "a new ...show" || string(got.Metadata) != `{"k":1}` || !got.UpdatedAt.After(before.UpdatedAt) {
				t.Errorf("got %+v", got)
			}
			if (got.ExpiresAt != nil) != tt.wantExpires {
				t.Errorf("expires %v", got.ExpiresAt)
			}
		})
	}
	secret := put(t, s, owner, api.NewSecret{Name: "n", Value: text("v")})
	_, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{})
	wantKind(t, err, api.ErrInvalid)
	_, err = s.RotateSecret(t.Context(), owner, "sec_none", Rotation{Value: text("")})
	wantKind(t, err, api.ErrNotFound)
}

// A refresh token that is not replaced is sealed again with the new version and still opens.
func TestRotationKeepsTheRefreshToken(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	stored := func(id string) string {
		token, err := read(t.Context(), s, owner, anyKey, func(x *txn) (api.Value, error) {
			row, err := x.secret(id)
			if err != nil {
				return api.Value{}, err
			}
			return x.refreshToken(row)
		})
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	secret := put(t, s, owner, api.NewSecret{Name: "n", Value: text("v"), RefreshToken: text("refresh 1")})
	for _, step := range []struct {
		rotation Rotation
		want     string
	}{
		{Rotation{Value: text("v2")}, "refresh 1"},
		{Rotation{Value: text("v3"), RefreshToken: text("refresh 2")}, "refresh 2"},
		{Rotation{Value: text("v4")}, "refresh 2"},
	} {
		if _, err := s.RotateSecret(t.Context(), owner, secret.ID, step.rotation); err != nil {
			t.Fatal(err)
		}
		if got := stored(secret.ID); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	put(t, s, owner, api.NewSecret{Name: "n", Value: text("v5")}) // an upsert replaces every field
	if got := stored(secret.ID); got != "" {
		t.Errorf("got %q after an upsert without one", got)
	}
}

func TestSecretsFilterAndPages(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	put(t, s, other, api.NewSecret{Name: "foreign", Value: text("v")})
	var all []string
	for i := range 25 {
		p := api.NewSecret{Name: fmt.Sprintf("s%02d", i), Value: text("v")}
		if i%5 == 0 {
			p.Scope, p.Type, p.WorkspaceID, p.OwnerUserID = "workspace", "bearer", "w1", "o1"
			p.ExternalUserID, p.ExternalWorkspaceID, p.Resource = "xu1", "xw1", box1
		}
		all = append(all, put(t, s, owner, p).Name)
	}
	names := func(f SecretFilter) (names []string, next string) {
		t.Helper()
		list, next, err := s.Secrets(t.Context(), owner, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range list {
			names = append(names, secret.Name)
		}
		return names, next
	}
	fifth := []string{"s00", "s05", "s10", "s15", "s20"}
	for _, tt := range []struct {
		name   string
		filter SecretFilter
		want   []string
	}{
		{"everything", SecretFilter{}, all},
		{"scope", SecretFilter{Scope: "workspace"}, fifth},
		{"type", SecretFilter{Type: "bearer"}, fifth},
		{"workspace", SecretFilter{WorkspaceID: "w1"}, fifth},
		{"owner", SecretFilter{OwnerUserID: "o1"}, fifth},
		{"external user", SecretFilter{ExternalUserID: "xu1"}, fifth},
		{"external workspace", SecretFilter{ExternalWorkspaceID: "xw1"}, fifth},
		{"resource", SecretFilter{ResourceID: "sb_1", ResourceType: "sandbox"}, fifth},
		{"exact, no pattern", SecretFilter{WorkspaceID: "w%"}, nil},
		{"two that exclude each other", SecretFilter{Type: "bearer", Scope: "user"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, next := names(tt.filter)
			if diff := cmp.Diff(got, tt.want); diff != "" || next != "" {
				t.Errorf("next %q, names (-got +want)\n%s", next, diff)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		var got []string
		f := SecretFilter{Page: Page{Limit: 10}}
		for pages := 1; ; pages++ {
			page, next := names(f)
			got = append(got, page...)
			if next == "" {
				if pages != 3 {
					t.Errorf("%d pages, want 3", pages)
				}
				break
			}
			f.Cursor = next
		}
		if diff := cmp.Diff(got, all); diff != "" {
			t.Errorf("names (-got +want)\n%s", diff)
		}
	})
	for _, page := range []Page{{Limit: -1}, {Limit: 1001}, {Cursor: "no cursor"}, {Cursor: "eHh4"}} {
		_, _, err := s.Secrets(t.Context(), owner, SecretFilter{Page: page})
		wantKind(t, err, api.ErrInvalid)
	}
}

func TestDeleteSecret(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "v")
	kept := bound(t, s, owner, "KEPT", "k")
	reader := agent(t, s, owner, box1)
	if err := s.DeleteSecret(t.Context(), owner, secret.ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(revealed(t, s, reader), map[string]string{"KEPT": "k"}); diff != "" {
		t.Errorf("set (-got +want)\n%s", diff)
	}
	wantKind(t, s.DeleteSecret(t.Context(), owner, secret.ID), api.ErrNotFound)
	list, _, err := s.Bindings(t.Context(), owner, BindingFilter{})
	if err != nil || len(list) != 1 || list[0].SecretID != kept.ID {
		t.Errorf("bindings %v, %v", list, err)
	}
	events := audited(t, s, owner, actSecretDelete)
	if len(events) != 1 || len(events[0].Bindings) != 1 {
		t.Errorf("deletion audited as %+v", events)
	}
}

func TestPreview(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"empty", "", "********"},
		{"31 characters", strings.Repeat("x", 31), "********"},
		{"32 characters", "abcdef" + strings.Repeat("x", 22) + "wxyz", "abcdef...wxyz"},
		{"31 characters of 2 bytes", strings.Repeat("é", 31), "********"},
		{"32 characters of 2 bytes", strings.Repeat("é", 32), "éééééé...éééé"},
		{"several bytes at both ends", "äöüßあ🙂" + strings.Repeat("x", 30) + "…🙂あß", "äöüßあ🙂...…🙂あß"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(previewOf([]byte(tt.value))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
