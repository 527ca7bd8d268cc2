package oauthtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// fixture is a vault with one authorization server as two providers: "acme", with the client secret in the header,
// and "acme-post", with the client secret in the body.
type fixture struct {
	vault    *vaulttest.Server
	app      *app
	provider *authserver.Server
	tenant   *fetch.Client
	resource *fetch.Client // with the resource key of sandbox
}

func newFixture(t *testing.T, provider *authserver.Server, opts ...vaulttest.Option) *fixture {
	t.Helper()
	return newFixtureWith(t, provider, "", opts...)
}

// newFixtureWith is newFixture with a line of configuration.
func newFixtureWith(t *testing.T, provider *authserver.Server, line string, opts ...vaulttest.Option) *fixture {
	t.Helper()
	secret := func(c authserver.Client) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(c.Secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := &fixture{provider: provider, app: newApp(t)}
	text := fmt.Sprintf(`
redirect_uris = [%[7]q]
%[8]s

[machine]
token_urls = [%[1]q]

[[provider]]
name = "acme"
display_name = "Acme"
issuer = %[2]q
client_id = %[3]q
client_secret_file = %[4]q
client_auth = "basic"
scopes = ["openid", "offline_access", "repo"]

[[provider]]
name = "acme-post"
display_name = "Acme Post"
issuer = %[2]q
client_id = %[5]q
client_secret_file = %[6]q
client_auth = "post"
scopes = ["openid", "repo"]
`, provider.Issuer+"/token", provider.Issuer, provider.Basic.ID, secret(provider.Basic), provider.Post.ID, secret(provider.Post), s.app.uri, line)
	s.vault = vaulttest.Start(t, append(opts, vaulttest.WithOAuth(t, text))...)
	provider.AllowRedirect(t, s.callback())
	provider.AllowRedirect(t, s.app.uri)
	s.tenant = s.client(t, s.vault.TenantKey)
	s.resource = s.client(t, s.vault.ResourceKey(t, sandbox))
	return s
}

// app is a third-party app at which flows can end. It records the queries of browsers, to pass them to the vault.
type app struct {
	uri     string
	brought chan string // queries
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{brought: make(chan string, 8)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			a.brought <- r.URL.RawQuery
		}
		_, _ = w.Write([]byte("<!doctype html><title>app</title><p id=back>Thank you"))
	}))
	t.Cleanup(s.Close)
	a.uri = s.URL + "/back"
	return a
}

func (s *fixture) client(t *testing.T, key api.Key) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{BaseURL: s.vault.BaseURL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// callback returns the redirect URI of the vault.
func (s *fixture) callback() string { return "http://" + s.vault.Addr() + oauth.CallbackPath }

// start starts a flow whose token is bound to sandbox under env, or not bound if env is empty.
func (s *fixture) start(t *testing.T, provider, env string) api.OAuthStart {
	t.Helper()
	c := api.OAuthRequest{Provider: provider}
	if env != "" {
		c.ResourceType, c.ResourceID, c.ExposeAsEnv = sandbox.Type, sandbox.ID, env
	}
	begun, err := s.tenant.StartOAuth(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	if begun.Provider != provider || !begun.ExpiresAt.After(time.Now()) {
		t.Errorf("the flow is for %q and expires at %v", begun.Provider, begun.ExpiresAt)
	}
	return begun
}

// status returns the status of a flow.
func (s *fixture) status(t *testing.T, begun api.OAuthStart) api.OAuthStatus {
	t.Helper()
	status, err := s.tenant.OAuthStatus(bounded(t), begun.State)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// wantStatus fails the test unless a flow has this status and error code. Failed and denied flows must have a
// message.
func (s *fixture) wantStatus(t *testing.T, begun api.OAuthStart, status, word string) {
	t.Helper()
	got := s.status(t, begun)
	if got.Status != status || got.Error != word {
		t.Errorf("the flow is %q with error %q, want %q with %q", got.Status, got.Error, status, word)
	}
	if (got.Message == "") != (word == "") {
		t.Errorf("the flow's message is %q", got.Message)
	}
}

// wantNothing fails the test if a secret or a binding was stored.
func (s *fixture) wantNothing(t *testing.T) {
	t.Helper()
	secrets, err := s.tenant.Secrets(bounded(t), fetch.SecretFilter{})
	if err != nil {
		t.Fatal(err)
	}
	bindings, err := s.tenant.Bindings(bounded(t), fetch.BindingFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) != 0 || len(bindings) != 0 {
		t.Errorf("%d secrets and %d bindings are stored, want none", len(secrets), len(bindings))
	}
}

// health is the state of the connection in a secret's metadata.
type health struct {
	Provider, Status, Error string
	Scopes                  []string
}

// secret returns a secret and the health of its connection.
func (s *fixture) secret(t *testing.T, id string) (api.Secret, health) {
	t.Helper()
	secret, err := s.tenant.Secret(bounded(t), id)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ OAuth health }
	if err := json.Unmarshal(secret.Metadata, &m); err != nil {
		t.Fatal(err)
	}
	return secret, m.OAuth
}

// revealed returns the value and version that sandbox has under env; ok is false if there is none.
func (s *fixture) revealed(t *testing.T, env string) (value string, version int64, ok bool) {
	t.Helper()
	set, err := s.resource.Reveal(bounded(t), sandbox, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range set.Bound {
		if b.ExposeAsEnv == env {
			return b.Value.Reveal(), b.Version, true
		}
	}
	return "", 0, false
}

// worksFor checks that the provider accepts a token that was revealed under env as one of user who. If the token
// has expired since, it was refreshed, and the new one must work.
func (s *fixture) worksFor(t *testing.T, env, token, who string) {
	t.Helper()
	for range 10 {
		status, subject := s.provider.UserInfo(t, token)
		if status == 200 && subject == who {
			return
		}
		if status != 401 {
			t.Errorf("the provider answers %d for %q to the token, want 200 for %q", status, subject, who)
			return
		}
		expired := token
		poll.Until(t, 20*time.Second, "an expired token is refreshed", func() (ok bool) {
			token, _, ok = s.revealed(t, env)
			return ok && token != expired
		})
	}
	t.Error("each token ends before it can be used")
}

// audited counts the events of an action and an outcome whose detail has a prefix.
func (s *fixture) audited(t *testing.T, action, outcome, detail string) (n int) {
	t.Helper()
	events, _, err := s.tenant.Audit(bounded(t), fetch.AuditFilter{Action: action, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Outcome == outcome && strings.HasPrefix(e.Detail, detail) {
			n++
		}
	}
	return n
}

// bounded returns a context with a timeout for one call.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
