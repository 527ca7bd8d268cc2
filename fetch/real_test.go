package fetch_test

import (
	"errors"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
)

// clients returns a resource's client and a tenant's client of one vault.
func clients(t *testing.T, v *vaulttest.Server) (machine, tenant *fetch.Client) {
	t.Helper()
	machine = client(t, v.BaseURL, func(c *fetch.Config) { c.Key = v.ResourceKey(t, sandbox) })
	return machine, client(t, v.BaseURL, func(c *fetch.Config) { c.Key = v.TenantKey })
}

func TestRealRevealAndRotate(t *testing.T) {
	v := vaulttest.Start(t)
	machine, tenant := clients(t, v)
	src := machine.Source(sandbox)
	got, err := src.Next(t.Context(), "")
	if err != nil || len(got.Bound) != 0 || got.Etag == "" {
		t.Fatalf("nothing bound: error %v, %d values", err, len(got.Bound))
	}

	secret, binding, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("first")), Resource: sandbox, ExposeAsEnv: "TOKEN"})
	if err != nil || binding == nil || binding.SecretID != secret.ID || binding.ExposeAsEnv != "TOKEN" || secret.Version != 1 {
		t.Fatalf("put: error %v, binding %+v, secret %+v", err, binding, secret)
	}
	want := [][2]string{{"TOKEN", "first"}}
	if got, err = src.Next(t.Context(), got.Etag); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plaintext(got), want); diff != "" {
		t.Errorf("set (-got +want):\n%s", diff)
	}

	// A rotation is delivered in the response to the waiting request.
	before := v.Requests("POST /egress/bindings/reveal")
	type result struct {
		api.Snapshot
		err error
	}
	next := make(chan result, 1)
	go func() { s, err := src.Next(t.Context(), got.Etag); next <- result{s, err} }()
	poll.Until(t, 20*time.Second, "the source to wait", func() bool { return v.Requests("POST /egress/bindings/reveal") == before+1 })
	if secret, err = tenant.RotateSecret(t.Context(), secret.ID, fetch.Rotation{Value: api.NewValue([]byte("second"))}); err != nil || secret.Version != 2 {
		t.Fatalf("rotate: error %v, version %d", err, secret.Version)
	}
	select {
	case r := <-next:
		if r.err != nil || r.Bound[0].Value.Reveal() != "second" || r.Bound[0].Version != 2 {
			t.Errorf("error %v", r.err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the rotation didn't arrive")
	}
	if n := v.Requests("POST /egress/bindings/reveal") - before; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestRealNotModified(t *testing.T) {
	v := vaulttest.Start(t)
	machine, _ := clients(t, v)
	first, err := machine.Reveal(t.Context(), sandbox, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Second} {
		if _, err := machine.Reveal(t.Context(), sandbox, first.Etag, wait); !errors.Is(err, api.ErrNotModified) {
			t.Errorf("wait %s: error %v", wait, err)
		}
	}
}

func TestRealRefusals(t *testing.T) {
	v := vaulttest.Start(t)
	machine, tenant := clients(t, v)
	elsewhere := client(t, v.BaseURL, func(c *fetch.Config) { c.Key = v.Tenant(t, "another") })
	stranger := client(t, v.BaseURL)
	id := v.Put(t, "token", "canary", sandbox, "TOKEN")
	for _, tt := range []struct {
		name string
		call func() error
		want *api.Kind
	}{
		{"unknown key", func() error { return reveal(t, stranger) }, api.ErrUnauthorized},
		{"tenant key reveals", func() error { return reveal(t, tenant) }, api.ErrDenied},
		{"another resource", func() error {
			_, err := machine.Reveal(t.Context(), api.Resource{Type: api.Sandbox, ID: "sb_2"}, "", 0)
			return err
		}, api.ErrDenied},
		{"resource key lists secrets", func() error { return listSecrets(t, machine) }, api.ErrDenied},
		{"another tenant's secret", func() error { _, err := elsewhere.Secret(t.Context(), id); return err }, api.ErrNotFound},
		{"no such secret", func() error { _, err := tenant.Secret(t.Context(), "sec_x"); return err }, api.ErrNotFound},
		{"an id that climbs", func() error { _, err := tenant.Secret(t.Context(), ".."); return err }, api.ErrInvalid},
		{"an id with a path", func() error { _, err := tenant.Secret(t.Context(), "../bindings"); return err }, api.ErrNotFound},
		{"an empty id", func() error { return tenant.DeleteSecret(t.Context(), "") }, api.ErrInvalid},
		{"a value with NUL", func() error {
			_, _, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: "n", Value: api.NewValue([]byte("a\x00b"))})
			return err
		}, api.ErrInvalid},
		{"a value that isn't text", func() error {
			_, err := tenant.RotateSecret(t.Context(), id, fetch.Rotation{Value: api.NewValue([]byte{0xff})})
			return err
		}, api.ErrInvalid},
		{"a value a byte too long", func() error {
			_, err := tenant.RotateSecret(t.Context(), id, fetch.Rotation{Value: api.NewValue(make([]byte, api.MaxValueBytes+1))})
			return err
		}, api.ErrInvalid},
		{"a refresh token that isn't text", func() error {
			_, _, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: "n", RefreshToken: api.NewValue([]byte{0xff})})
			return err
		}, api.ErrInvalid},
		{"an expiry of a new secret that can't be written", func() error {
			_, _, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: "n", ExpiresAt: new(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))})
			return err
		}, api.ErrInvalid},
		{"an expiry, and none", func() error {
			_, err := tenant.RotateSecret(t.Context(), id, fetch.Rotation{ExpiresAt: new(time.Now()), NeverExpires: true})
			return err
		}, api.ErrInvalid},
		{"an expiry that can't be written", func() error {
			_, err := tenant.RotateSecret(t.Context(), id, fetch.Rotation{ExpiresAt: new(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))})
			return err
		}, api.ErrInvalid},
		{"a delivery that isn't one", func() error {
			_, _, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: "n", Resource: sandbox, ExposeAsEnv: "N", Delivery: "pigeon"})
			return err
		}, api.ErrInvalid},
		{"a name that is taken", func() error {
			other := v.Put(t, "other", "x", api.Resource{Type: api.Sandbox, ID: "sb_3"}, "OTHER")
			_, err := tenant.CreateBinding(t.Context(), api.NewBinding{SecretID: other, Resource: sandbox, ExposeAsEnv: "TOKEN"})
			return err
		}, api.ErrConflict},
		{"a name that isn't one", func() error {
			_, err := tenant.CreateBinding(t.Context(), api.NewBinding{SecretID: id, Resource: sandbox, ExposeAsEnv: "A-B"})
			return err
		}, api.ErrInvalid},
		{"a resource that isn't one", func() error {
			_, err := machine.Reveal(t.Context(), api.Resource{Type: "pod", ID: "x"}, "", 0)
			return err
		}, api.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestRealRevocationEndsAWait(t *testing.T) {
	v := vaulttest.Start(t)
	key, id := v.MintResourceKey(t, sandbox)
	src := client(t, v.BaseURL, func(c *fetch.Config) { c.Key = key }).Source(sandbox)
	first, err := src.Next(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	before := v.Requests("POST /egress/bindings/reveal")
	ended := make(chan error, 1)
	go func() { _, err := src.Next(t.Context(), first.Etag); ended <- err }()
	poll.Until(t, 20*time.Second, "the source to wait", func() bool { return v.Requests("POST /egress/bindings/reveal") == before+1 })
	tenant := client(t, v.BaseURL, func(c *fetch.Config) { c.Key = v.TenantKey })
	if err := tenant.RevokeResourceKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, api.ErrUnauthorized) {
			t.Errorf("error %v, want %v", err, api.ErrUnauthorized)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the wait continues after its key was revoked")
	}
}

// Every call of a tenant, against the real vault.
func TestRealTenantCalls(t *testing.T) {
	v := vaulttest.Start(t)
	machine, tenant := clients(t, v)
	ctx := t.Context()
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	secret, binding, err := tenant.PutSecret(ctx, api.NewSecret{
		Name: "db", Value: api.NewValue([]byte("canary-db-password")), Type: "basic", Scope: "workspace", WorkspaceID: "ws_1",
		ExpiresAt: &expires, Metadata: []byte(`{"team":"a"}`),
	})
	if err != nil || binding != nil {
		t.Fatalf("put: error %v, binding %v", err, binding)
	}
	if secret.Name != "db" || secret.Type != "basic" || secret.Scope != "workspace" || secret.WorkspaceID == nil || *secret.WorkspaceID != "ws_1" ||
		secret.ExpiresAt == nil || !secret.ExpiresAt.Equal(expires) || string(secret.Metadata) == "" {
		t.Errorf("put returned %+v", secret)
	}
	if got, err := tenant.Secret(ctx, secret.ID); err != nil || got.ID != secret.ID {
		t.Errorf("secret: error %v, %+v", err, got)
	}
	for _, tt := range []struct {
		name   string
		filter fetch.SecretFilter
		want   int
	}{
		{"all", fetch.SecretFilter{}, 1},
		{"matching", fetch.SecretFilter{Scope: "workspace", Type: "basic", WorkspaceID: "ws_1"}, 1},
		{"another workspace", fetch.SecretFilter{WorkspaceID: "ws_2"}, 0},
		{"by resource", fetch.SecretFilter{Resource: sandbox}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tenant.Secrets(ctx, tt.filter); err != nil || len(got) != tt.want {
				t.Errorf("error %v, %d secrets, want %d", err, len(got), tt.want)
			}
		})
	}
	made, err := tenant.CreateBinding(ctx, api.NewBinding{SecretID: secret.ID, Resource: sandbox, ExposeAsEnv: "DB", Delivery: api.DeliverPlaceholder})
	if err != nil || made.Delivery != api.DeliverPlaceholder || made.PlaceholderToken == "" {
		t.Fatalf("bind: error %v, %+v", err, made)
	}
	if again, err := tenant.CreateBinding(ctx, api.NewBinding{SecretID: secret.ID, Resource: sandbox, ExposeAsEnv: "DB", Delivery: api.DeliverPlaceholder}); err != nil || again.ID != made.ID {
		t.Errorf("bind again: error %v, %s, want %s", err, again.ID, made.ID)
	}
	// With placeholder delivery, the placeholder is sealed and the resource never receives the value.
	if got, err := machine.Reveal(ctx, sandbox, "", 0); err != nil || len(got.Bound) != 1 || got.Bound[0].Value.Reveal() != made.PlaceholderToken || got.Bound[0].Delivery != api.DeliverPlaceholder {
		t.Errorf("reveal: error %v", err)
	}
	for name, c := range map[string]*fetch.Client{"tenant": tenant, "machine": machine} {
		if list, err := c.Bindings(ctx, fetch.BindingFilter{Resource: sandbox}); err != nil || len(list) != 1 || list[0].SecretName != "db" || list[0].Resource != sandbox {
			t.Errorf("%s lists bindings: error %v, %+v", name, err, list)
		}
	}
	key, err := tenant.CreateResourceKey(ctx, sandbox, &expires)
	if err != nil || key.Resource != sandbox || key.ExpiresAt == nil {
		t.Fatalf("mint: error %v", err)
	}
	if _, err := api.ParseKey(key.Key); err != nil {
		t.Error("the new key is not a valid key")
	}
	if keys, err := tenant.ResourceKeys(ctx, api.Resource{}); err != nil || len(keys) != 2 || keys[0].Key != "" || keys[1].Key != "" {
		t.Errorf("keys: error %v, %d", err, len(keys))
	}
	if keys, err := tenant.ResourceKeys(ctx, api.Resource{Type: api.Computer, ID: "c_1"}); err != nil || len(keys) != 0 {
		t.Errorf("another resource's keys: error %v, %d", err, len(keys))
	}
	if err := tenant.DeleteBinding(ctx, made.ID); err != nil {
		t.Errorf("unbind: %v", err)
	}
	if err := tenant.RevokeResourceKey(ctx, key.ID); err != nil {
		t.Errorf("revoke: %v", err)
	}
	if err := tenant.DeleteSecret(ctx, secret.ID); err != nil {
		t.Errorf("delete: %v", err)
	}
	if got, err := tenant.Secrets(ctx, fetch.SecretFilter{}); err != nil || len(got) != 0 {
		t.Errorf("at the end: error %v, %d secrets", err, len(got))
	}
}

// A rotation keeps, changes or drops an expiry as requested.
func TestRealRotationsAndExpiry(t *testing.T) {
	v := vaulttest.Start(t)
	_, tenant := clients(t, v)
	early, late := time.Now().Add(time.Hour).UTC().Truncate(time.Second), time.Now().Add(2*time.Hour).UTC().Truncate(time.Second)
	secret, binding, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("v")), Resource: sandbox,
		ExposeAsEnv: "TOKEN", Delivery: api.DeliverPlaceholder, ExpiresAt: &early})
	if err != nil || binding == nil || binding.Delivery != api.DeliverPlaceholder {
		t.Fatalf("error %v, binding %+v", err, binding)
	}
	for _, tt := range []struct {
		name     string
		rotation fetch.Rotation
		want     *time.Time
	}{
		{"kept", fetch.Rotation{}, &early},
		{"moved", fetch.Rotation{ExpiresAt: &late}, &late},
		{"dropped", fetch.Rotation{NeverExpires: true}, nil},
		{"none is kept", fetch.Rotation{}, nil},
	} {
		tt.rotation.Value = api.NewValue([]byte(tt.name))
		got, err := tenant.RotateSecret(t.Context(), secret.ID, tt.rotation)
		if diff := cmp.Diff(got.ExpiresAt, tt.want); err != nil || diff != "" {
			t.Errorf("%s: error %v, expiry (-got +want):\n%s", tt.name, err, diff)
		}
	}
}

func TestRealTLS(t *testing.T) {
	cert, certFile, _ := vaulttest.Certificate(t)
	v := vaulttest.Start(t, vaulttest.WithTLS(cert))
	v.Put(t, "token", "canary", sandbox, "TOKEN")
	key := v.ResourceKey(t, sandbox)
	if err := reveal(t, client(t, v.BaseURL, func(c *fetch.Config) { c.Key, c.CAFile = key, certFile })); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct {
		baseURL string
		reason  fetch.Reason
	}{
		"unknown authority": {v.BaseURL, fetch.UnknownCA},
		"in plain http":     {"http://" + v.Addr() + "/api/v1", fetch.NeedsTLS},
	} {
		problem, ok := errors.AsType[*fetch.Problem](reveal(t, client(t, tt.baseURL, func(c *fetch.Config) { c.Key = key })))
		if !ok || problem.Reason != tt.reason {
			t.Errorf("%s: %+v", name, problem)
		}
	}
}

// Extreme values pass unchanged through store, seal and client.
func TestRealValuesComeBackAsTheyWere(t *testing.T) {
	v := vaulttest.Start(t)
	machine, tenant := clients(t, v)
	long := make([]byte, api.MaxValueBytes)
	for i := range long {
		long[i] = byte('a' + i%26)
	}
	values := map[string]string{
		"EMPTY": "", "SPACE": " ", "LINES": "a\nb\r\nc\n", "QUOTES": `'"\$(x)` + "`", "UNICODE": "é漢\u2028\ufeff", "HTML": "<&>",
		"DIGITS": "007", "LONG": string(long), "CONTROL": "\x01\x1b[31m\x7f",
	}
	for name, value := range values {
		if _, _, err := tenant.PutSecret(t.Context(), api.NewSecret{Name: name, Value: api.NewValue([]byte(value)), Resource: sandbox, ExposeAsEnv: name}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	got, err := machine.Reveal(t.Context(), sandbox, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	back := map[string]string{}
	for _, b := range got.Bound {
		back[b.ExposeAsEnv] = b.Value.Reveal()
	}
	if diff := cmp.Diff(back, values); diff != "" {
		t.Errorf("values (-got +want):\n%s", diff)
	}
}

func BenchmarkReveal(b *testing.B) {
	v := vaulttest.Start(b)
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		v.Put(b, name, "value of "+name, sandbox, name)
	}
	c, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: v.ResourceKey(b, sandbox)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Reveal(b.Context(), sandbox, "", 0); err != nil {
			b.Fatal(err)
		}
	}
}
