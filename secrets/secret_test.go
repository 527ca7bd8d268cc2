package secrets_test

import (
	"errors"
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
)

// start returns a real vault and a client of its tenant.
func start(t *testing.T) (*vaulttest.Server, *secrets.Client) {
	t.Helper()
	v := vaulttest.Start(t)
	return v, client(t, v.BaseURL, v.TenantKey)
}

// read returns what a resource reads with its own key: values by variable.
func read(t *testing.T, v *vaulttest.Server, r secrets.Resource, key string) map[string]string {
	t.Helper()
	k, err := api.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	set, err := machine.Reveal(t.Context(), r, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, b := range set.Bound {
		values[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return values
}

func TestSetRotateDelete(t *testing.T) {
	v, c := start(t)
	ctx := t.Context()
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	secret, binding, err := c.Set(ctx, secrets.Set{
		Name: "db", Value: secrets.Text("first"), Type: "basic", Scope: "workspace",
		WorkspaceID: "w_1", OwnerUserID: "u_1", ExternalUserID: "x_1", ExternalWorkspaceID: "y_1",
		Resource: sandbox, ExposeAsEnv: "DB", RefreshToken: secrets.Text("refresh"), ExpiresAt: &expires,
		Metadata: map[string]any{"team": "a"},
	})
	if err != nil || binding == nil {
		t.Fatalf("error %v, binding %v", err, binding)
	}
	want := secrets.Secret{
		ID: secret.ID, Name: "db", Type: "basic", Scope: "workspace", Version: 1,
		WorkspaceID: new("w_1"), OwnerUserID: new("u_1"), ExternalUserID: new("x_1"), ExternalWorkspaceID: new("y_1"),
		ResourceType: new("sandbox"), ResourceID: new("sb_1"), MaskedValue: "********", Preview: "********",
		ExpiresAt: &expires, Metadata: []byte(`{"team":"a"}`), CreatedAt: secret.CreatedAt, UpdatedAt: secret.UpdatedAt,
	}
	if diff := cmp.Diff(secret, want); diff != "" || secret.ID == "" {
		t.Errorf("secret (-got +want):\n%s", diff)
	}
	if binding.SecretID != secret.ID || binding.Resource != sandbox || binding.ExposeAsEnv != "DB" || binding.Delivery != api.DeliverValue {
		t.Errorf("binding %+v", binding)
	}
	got, err := c.Get(ctx, secret.ID)
	if diff := cmp.Diff(got, secret); err != nil || diff != "" {
		t.Errorf("get: error %v (-got +want):\n%s", err, diff)
	}

	key, err := c.CreateKey(ctx, sandbox, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(read(t, v, sandbox, key.Key), map[string]string{"DB": "first"}); diff != "" {
		t.Errorf("set (-got +want):\n%s", diff)
	}
	got, err = c.Rotate(ctx, secret.ID, secrets.Rotation{Value: secrets.Text("second"), NeverExpires: true})
	if err != nil || got.Version != 2 || got.ExpiresAt != nil {
		t.Errorf("rotate: error %v, %+v", err, got)
	}
	if diff := cmp.Diff(read(t, v, sandbox, key.Key), map[string]string{"DB": "second"}); diff != "" {
		t.Errorf("set after a rotation (-got +want):\n%s", diff)
	}
	if err := c.Delete(ctx, secret.ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(read(t, v, sandbox, key.Key), map[string]string{}); diff != "" {
		t.Errorf("set after deletion (-got +want):\n%s", diff)
	}
}

func TestSetReplaces(t *testing.T) {
	_, c := start(t)
	first, binding, err := c.Set(t.Context(), secrets.Set{Name: "n", Value: secrets.Text("a")})
	if err != nil || binding != nil {
		t.Fatalf("error %v, binding %v", err, binding)
	}
	again, _, err := c.Set(t.Context(), secrets.Set{Name: "n", Value: secrets.Text("b")})
	if err != nil || again.ID != first.ID || again.Version != 2 {
		t.Errorf("the same name: error %v, %+v", err, again)
	}
	other, _, err := c.Set(t.Context(), secrets.Set{Name: "n", Value: secrets.Text("b"), Scope: "tenant"})
	if err != nil || other.ID == first.ID {
		t.Errorf("another scope: error %v, %+v", err, other)
	}
}

func TestList(t *testing.T) {
	_, c := start(t)
	for _, s := range []secrets.Set{
		{Name: "a", Scope: "workspace", WorkspaceID: "w_1"},
		{Name: "b", Type: "bearer", OwnerUserID: "u_1"},
		{Name: "c", ExternalUserID: "x_1", ExternalWorkspaceID: "y_1"},
		{Name: "d", Resource: sandbox},
		{Name: "e", Resource: secrets.Computer("c_1")},
	} {
		if _, _, err := c.Set(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		filter secrets.Filter
		want   string
	}{
		{"all", secrets.Filter{}, "abcde"},
		{"scope", secrets.Filter{Scope: "workspace"}, "a"},
		{"workspace", secrets.Filter{WorkspaceID: "w_1"}, "a"},
		{"type", secrets.Filter{Type: "bearer"}, "b"},
		{"owner", secrets.Filter{OwnerUserID: "u_1"}, "b"},
		{"external user", secrets.Filter{ExternalUserID: "x_1"}, "c"},
		{"external workspace", secrets.Filter{ExternalWorkspaceID: "y_1"}, "c"},
		{"sandbox", secrets.Filter{Resource: sandbox}, "d"},
		{"computer", secrets.Filter{Resource: secrets.Computer("c_1")}, "e"},
		{"sandboxes", secrets.Filter{Resource: secrets.Resource{Type: api.Sandbox}}, "d"},
		{"no match", secrets.Filter{Scope: "tenant"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := c.List(t.Context(), tt.filter)
			got := ""
			for _, s := range list {
				got += s.Name
			}
			if err != nil || got != tt.want {
				t.Errorf("error %v, secrets %q, want %q", err, got, tt.want)
			}
		})
	}
}

// A program's mistakes return errors of the expected kind.
func TestRefusals(t *testing.T) {
	v, c := start(t)
	ctx := t.Context()
	taken := v.Put(t, "token", "x", sandbox, "TOKEN")
	loose := v.PutSecret(t, map[string]any{"name": "loose", "value": "x"})
	stranger, foreign := client(t, v.BaseURL, api.Key{}), client(t, v.BaseURL, v.Tenant(t, "another"))
	for _, tt := range []struct {
		name string
		call func() error
		want *api.Kind
	}{
		{"no name", func() error { _, _, err := c.Set(ctx, secrets.Set{Value: secrets.Text("x")}); return err }, api.ErrInvalid},
		{"a value that isn't text", func() error { _, _, err := c.Set(ctx, secrets.Set{Name: "n", Value: secrets.Text("\xff")}); return err }, api.ErrInvalid},
		{"metadata that isn't JSON", func() error {
			_, _, err := c.Set(ctx, secrets.Set{Name: "n", Metadata: map[string]any{"x": math.NaN()}})
			return err
		}, api.ErrInvalid},
		{"a value in metadata", func() error {
			_, _, err := c.Set(ctx, secrets.Set{Name: "n", Metadata: map[string]any{"x": secrets.Text("v")}})
			return err
		}, api.ErrInvalid},
		{"half a resource", func() error {
			_, _, err := c.Set(ctx, secrets.Set{Name: "n", Resource: secrets.Resource{ID: "sb_1"}, ExposeAsEnv: "N"})
			return err
		}, api.ErrInvalid},
		{"a variable that is taken", func() error {
			_, _, err := c.Set(ctx, secrets.Set{Name: "n", Resource: sandbox, ExposeAsEnv: "TOKEN"})
			return err
		}, api.ErrConflict},
		{"bind where another is bound", func() error {
			_, err := c.CreateBinding(ctx, secrets.NewBinding{SecretID: loose, Resource: sandbox, ExposeAsEnv: "TOKEN"})
			return err
		}, api.ErrConflict},
		{"bind what isn't there", func() error {
			_, err := c.CreateBinding(ctx, secrets.NewBinding{SecretID: "sec_x", Resource: sandbox, ExposeAsEnv: "X"})
			return err
		}, api.ErrNotFound},
		{"get what isn't there", func() error { _, err := c.Get(ctx, "sec_x"); return err }, api.ErrNotFound},
		{"get without an id", func() error { _, err := c.Get(ctx, ""); return err }, api.ErrInvalid},
		{"get another tenant's", func() error { _, err := foreign.Get(ctx, taken); return err }, api.ErrNotFound},
		{"rotate another tenant's", func() error { _, err := foreign.Rotate(ctx, taken, secrets.Rotation{}); return err }, api.ErrNotFound},
		{"delete another tenant's", func() error { return foreign.Delete(ctx, taken) }, api.ErrNotFound},
		{"unbind what isn't there", func() error { return c.DeleteBinding(ctx, "bnd_x") }, api.ErrNotFound},
		{"revoke what isn't there", func() error { return c.RevokeKey(ctx, "key_x") }, api.ErrNotFound},
		{"a key for no resource", func() error { _, err := c.CreateKey(ctx, secrets.Resource{}, nil); return err }, api.ErrInvalid},
		{"an event that isn't there", func() error { _, err := c.AuditEvent(ctx, "evt_x"); return err }, api.ErrNotFound},
		{"no state", func() error { _, err := c.Resume("").Status(ctx); return err }, api.ErrInvalid},
		{"an unknown key", func() error { _, err := stranger.List(ctx, secrets.Filter{}); return err }, api.ErrUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	v.Stop(t)
	impatient, err := secrets.New(secrets.Config{BaseURL: v.BaseURL, Key: v.TenantKey, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	if _, err := impatient.List(ctx, secrets.Filter{}); !errors.Is(err, api.ErrUnavailable) || !api.Temporary(err) {
		t.Errorf("a vault that is stopped: error %v, want %v", err, api.ErrUnavailable)
	}
}

// If a vault answers Set only with the secret, or does not bind, the client requests the binding.
func TestSetOfAVaultThatAnswersNoBinding(t *testing.T) {
	const secret = `{"data":{"id":"sec_1","name":"n"}}`
	bound := func(id, secretID, resource string) string {
		return `{"id":"` + id + `","secret_id":"` + secretID + `","resource_id":"` + resource + `","resource_type":"sandbox","expose_as_env":"TOKEN"}`
	}
	for _, tt := range []struct {
		name, list string
		create     int    // its status
		want       string // the binding's id; "": ErrNotBound
	}{
		{"bound", `{"data":[` + bound("bnd_9", "sec_9", "sb_1") + "," + bound("bnd_1", "sec_1", "sb_1") + `]}`, 500, "bnd_1"},
		{"not bound", `{"data":[]}`, 201, "bnd_2"},
		{"bound elsewhere", `{"data":[` + bound("bnd_8", "sec_1", "sb_2") + `]}`, 201, "bnd_2"},
		{"not to be bound", `{"data":[]}`, 409, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, 20*time.Second, func(w http.ResponseWriter, r *http.Request) {
				answer := secret
				switch {
				case r.URL.Path == "/api/v1/egress/bindings" && r.Method == http.MethodGet:
					answer = tt.list
				case r.URL.Path == "/api/v1/egress/bindings" && tt.create >= 400:
					answerJSON(w, tt.create, api.ErrorBody{Error: "the name is taken"})
					return
				case r.URL.Path == "/api/v1/egress/bindings":
					answer = `{"data":` + bound("bnd_2", "sec_1", "sb_1") + `}`
				}
				_, _ = io.WriteString(jsonTo(w), answer)
			})
			got, binding, err := c.Set(t.Context(), secrets.Set{Name: "n", Value: secrets.Text("v"), Resource: sandbox, ExposeAsEnv: "TOKEN"})
			switch {
			case got.ID != "sec_1":
				t.Errorf("error %v, secret %+v", err, got)
			case tt.want == "" && (!errors.Is(err, secrets.ErrNotBound) || !errors.Is(err, api.ErrConflict) || binding != nil):
				t.Errorf("error %v, binding %v", err, binding)
			case tt.want != "" && (err != nil || binding == nil || binding.ID != tt.want):
				t.Errorf("error %v, binding %+v, want %s", err, binding, tt.want)
			}
		})
	}
}
