package vault

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// Connecting again, with each form of attribution that SDKs send, makes a secret with another id in one transaction. The
// bindings move to it and keep their ids, waiting reveals return, and the old secret is gone with its schedule.
func TestReconnect(t *testing.T) {
	for _, test := range []struct {
		name string
		of   map[string]string
	}{
		{"nothing", nil},
		{"owner", map[string]string{"owner_user_id": "u_1"}},
		{"external user", map[string]string{"scope": "external_user", "external_user_id": "u_1"}},
		{"external workspace", map[string]string{"scope": "external_workspace", "external_workspace_id": "w_1"}},
		{"tenant", map[string]string{"scope": "tenant"}},
		{"resource", map[string]string{"resource_type": "sandbox", "resource_id": "sb_1"}},
		{"variable", map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"}},
		{"OAuth scopes", map[string]string{"scope": "repo read:user", "external_user_id": "u_1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newConnected(t, 3600).withoutScheduler()
			c.t = t
			connect := func() (api.OAuthStart, api.Secret) {
				t.Helper()
				started := c.start(test.of)
				wantPage(t, c.callback(c.provider.consent(t, started.AuthorizeURL)), http.StatusOK, "Acme is connected")
				return started, c.secret()
			}
			first, old := connect()
			for _, env := range []string{"ACME_TOKEN", "SECOND"} { // ACME_TOKEN may be bound already
				if _, _, err := c.vault.store.CreateBinding(t.Context(), c.owner, api.NewBinding{SecretID: old.ID, Resource: box1, ExposeAsEnv: env}); err != nil {
					t.Fatal(err)
				}
			}
			bindings := func() []api.Binding {
				t.Helper()
				list, _, err := c.vault.store.Bindings(t.Context(), c.owner, store.BindingFilter{})
				if err != nil {
					t.Fatal(err)
				}
				return list
			}
			before, value := bindings(), c.value()
			etag := snapshot(t, c.vault.store, c.reader).Etag
			woken := make(chan error, 1)
			go func() { woken <- c.vault.store.Await(t.Context(), c.reader, box1, etag, 30*time.Second) }()

			second, secret := connect()
			if secret.ID == old.ID || secret.Version != 1 || secret.Scope != old.Scope {
				t.Errorf("the secret is %s, version %d, scope %s", secret.ID, secret.Version, secret.Scope)
			}
			if err := <-woken; err != nil {
				t.Errorf("a waiting reveal: %v", err)
			}
			if c.value() == value || snapshot(t, c.vault.store, c.reader).Etag == etag {
				t.Error("the value or the etag is the old one")
			}
			for i := range before {
				before[i].SecretID, before[i].Version, before[i].UpdatedAt, before[i].ExpiresAt = secret.ID, 1, secret.UpdatedAt, secret.ExpiresAt
			}
			if diff := cmp.Diff(before, bindings()); diff != "" {
				t.Errorf("bindings (-want +got)\n%s", diff)
			}
			var secrets, rows int
			look(t, c.vault.store, &secrets, `SELECT secrets * 1000 + bindings FROM tenant_usage`)
			if look(t, c.vault.store, &rows, `SELECT 1000 * (SELECT COUNT(*) FROM secrets) + COUNT(*) FROM bindings`); secrets != rows {
				t.Errorf("usage %d, want %d", secrets, rows)
			}
			var grants int
			if look(t, c.vault.store, &grants, `SELECT COUNT(*) FROM oauth_grants`); grants != 1 {
				t.Errorf("%d schedules", grants)
			}
			if got := c.status(second.State); got.Status != api.FlowCompleted || got.SecretID != secret.ID {
				t.Errorf("status of the second flow: %+v", got)
			}
			if got := c.status(first.State); got.Status != api.FlowCompleted {
				t.Errorf("status of the first flow: %+v", got)
			}
			moved := audited(t, c.vault.store, c.owner, "binding.move")
			if len(moved) != 1 || moved[0].SecretID != secret.ID || moved[0].Detail != old.ID || len(moved[0].Bindings) != 2 ||
				moved[0].Bindings[0].SecretID != secret.ID {
				t.Errorf("audit: %+v", moved)
			}
			if gone := audited(t, c.vault.store, c.owner, "secret.delete"); len(gone) != 1 || gone[0].SecretID != old.ID {
				t.Errorf("audit: %+v", gone)
			}
			if err := c.renew(); err != nil || c.secret().Version != 2 {
				t.Errorf("not renewed: %v", err)
			}
		})
	}
}

// If the flow's own binding can't be made, everything stays as it was.
func TestReconnectRefused(t *testing.T) {
	c := newConnected(t, 3600).withoutScheduler()
	of := map[string]string{"resource_type": "sandbox", "resource_id": "sb_1"}
	c.callback(c.provider.consent(t, c.start(of).AuthorizeURL))
	old := c.secret()
	again := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "TAKEN"})
	bound(t, c.vault.store, c.owner, "TAKEN", "x")
	wantPage(t, c.callback(c.provider.consent(t, again.AuthorizeURL)), http.StatusConflict, "belongs to another secret")
	list, _, err := c.vault.store.Secrets(t.Context(), c.owner, store.SecretFilter{Type: oauth.TypeAccount})
	if err != nil || len(list) != 1 || list[0].ID != old.ID || list[0].Version != old.Version {
		t.Errorf("secrets: %+v, %v", list, err)
	}
	if events := audited(t, c.vault.store, c.owner, "secret.delete"); len(events) != 0 {
		t.Errorf("audit: %+v", events)
	}
}

// A scope that is none of a secret is a list of OAuth scopes, which the provider is asked for.
func TestOAuthScopes(t *testing.T) {
	for scope, want := range map[string]struct{ requested, secret string }{
		"":                {"read", "user"},
		"user":            {"read", "user"},
		"tenant":          {"read", "tenant"},
		"repo":            {"repo", "user"},
		"repo read:user":  {"repo read:user", "user"},
		"user repo":       {"user repo", "user"},
		" repo  openid  ": {"repo openid", "user"},
	} {
		t.Run(scope, func(t *testing.T) {
			c := newConnected(t, 3600).withoutScheduler()
			c.t = t
			started := c.start(map[string]string{"scope": scope})
			link, err := url.Parse(started.AuthorizeURL)
			if err != nil {
				t.Fatal(err)
			}
			if got := link.Query().Get("scope"); got != want.requested {
				t.Errorf("requested %q, want %q", got, want.requested)
			}
			c.callback(c.provider.consent(t, started.AuthorizeURL))
			secret := c.secret()
			granted := oauth.ConnectionOf(secret.Metadata).Scopes
			if secret.Scope != want.secret || len(granted) == 0 || !slices.Contains([]string{"read", "repo", "user"}, granted[0]) {
				t.Errorf("the secret has scope %s, granted %v", secret.Scope, granted)
			}
		})
	}
}
