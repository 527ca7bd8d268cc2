package vault

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/canary"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// wantPage checks what every page at the end of a flow has in common.
func wantPage(t *testing.T, w *httptest.ResponseRecorder, status int, message string, never ...string) {
	t.Helper()
	text := w.Body.String()
	if w.Code != status || !strings.Contains(text, message) {
		t.Errorf("status %d, want %d and %q:\n%s", w.Code, status, message, text)
	}
	h := w.Header()
	policy := h.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") ||
		strings.Contains(policy, "script-src") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("policy %q", policy)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	for _, word := range append(never, "<script", "at-", "rt-", "<a ") {
		if word != "" && strings.Contains(text, word) {
			t.Errorf("the page contains %q", word)
		}
	}
	if !strings.Contains(text, `class="next"`) || !strings.Contains(text, "width=device-width") {
		t.Error("no next step, or no viewport for phones")
	}
}

func TestConnect(t *testing.T) {
	c := newConnected(t, 3600)
	started := c.start(map[string]string{
		"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN", "scope": "external_user", "external_user_id": "u_7",
	})
	if left := time.Until(started.ExpiresAt); left < 9*time.Minute || left > 10*time.Minute || started.Provider != "acme" {
		t.Errorf("started: %+v", started)
	}
	link, err := url.Parse(started.AuthorizeURL)
	if err != nil {
		t.Fatal(err)
	}
	q := link.Query()
	if q.Get("redirect_uri") != "https://vault.example/api/v1/egress/oauth/callback" || q.Get("code_challenge_method") != "S256" ||
		len(q.Get("code_challenge")) != 43 || q.Get("state") != started.State || len(started.State) != 43 || q.Get("scope") != "read" {
		t.Errorf("link: %v", q)
	}
	want := api.OAuthStatus{Status: api.FlowPending, Provider: "acme", ExpiresAt: started.ExpiresAt}
	if diff := cmp.Diff(want, c.status(started.State)); diff != "" {
		t.Errorf("before (-want +got)\n%s", diff)
	}
	answer := c.provider.consent(t, started.AuthorizeURL)
	wantPage(t, c.callback(answer), http.StatusOK, "Acme is connected", started.State, answer.Get("code"))
	secret := c.secret()
	want.Status, want.SecretID = api.FlowCompleted, secret.ID
	if diff := cmp.Diff(want, c.status(started.State)); diff != "" {
		t.Errorf("after (-want +got)\n%s", diff)
	}
	if secret.Type != "oauth_connect" || secret.Name != "acme" || secret.OAuthProvider != "acme" || secret.Scope != "external_user" ||
		secret.ExternalUserID == nil || *secret.ExternalUserID != "u_7" || secret.ExpiresAt == nil || secret.Version != 1 {
		t.Errorf("secret: %+v", secret)
	}
	c.wantHealth(api.OAuthConnected, "")
	if !strings.HasPrefix(c.value(), "at-") {
		t.Error("the token isn't delivered")
	}
	// Connecting again makes another secret, which gets the binding.
	again := c.start(map[string]string{
		"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN", "scope": "external_user", "external_user_id": "u_7",
	})
	before := c.value()
	wantPage(t, c.callback(c.provider.consent(t, again.AuthorizeURL)), http.StatusOK, "Acme is connected")
	if c.secret().Version != 1 || c.secret().ID == secret.ID || c.value() == before {
		t.Error("not replaced")
	}
	actions := ""
	events, _, err := c.vault.store.Audit(t.Context(), c.owner, store.AuditFilter{Since: &time.Time{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if strings.HasPrefix(e.Action, "oauth.") || strings.HasPrefix(e.Action, "secret.") || strings.HasPrefix(e.Action, "binding.") {
			actions += fmt.Sprintf("%s %s %s %v; ", e.Action, e.Outcome, e.Detail, e.KeyID == c.owner.KeyID)
		}
	}
	if want := "oauth.start ok acme true; secret.create ok  true; binding.create ok  true; oauth.callback ok acme true; " +
		"oauth.start ok acme true; secret.create ok  true; binding.move ok " + secret.ID + " true; secret.delete ok  true; oauth.callback ok acme true; "; actions != want {
		t.Errorf("audit:\n%s\nwant\n%s", actions, want)
	}
}

// A state works once. A replay has no effect and does not reveal how the flow ended.
func TestReplayedState(t *testing.T) {
	c := newConnected(t, 3600)
	started := c.start(nil)
	answer := c.provider.consent(t, started.AuthorizeURL)
	wantPage(t, c.callback(answer), http.StatusOK, "connected")
	asked := c.provider.requests()
	for range 3 {
		wantPage(t, c.callback(answer), http.StatusConflict, "already used", "Acme")
		wantPage(t, c.callback(c.provider.consent(t, started.AuthorizeURL)), http.StatusConflict, "already used")
		wantPage(t, c.callback(url.Values{"state": {started.State}, "error": {"access_denied"}}), http.StatusConflict, "already used")
	}
	if c.provider.requests() != asked || c.secret().Version != 1 || c.status(started.State).Status != api.FlowCompleted {
		t.Error("a replay had an effect")
	}
}

// If the same callback arrives several times at once, one succeeds.
func TestStateUsedAtOnce(t *testing.T) {
	c := newConnected(t, 3600)
	started := c.start(nil)
	answer := c.provider.consent(t, started.AuthorizeURL)
	var connected, used atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			switch c.callback(answer).Code {
			case http.StatusOK:
				connected.Add(1)
			case http.StatusConflict:
				used.Add(1)
			}
		})
	}
	all.Wait()
	if connected.Load() != 1 || used.Load() != 19 || c.provider.requests() != 1 {
		t.Errorf("%d connected, %d used, %d requests", connected.Load(), used.Load(), c.provider.requests())
	}
}

// A flow that fails ends with a plain error page, a final status with code and message, and nothing stored.
func TestFlowsThatFail(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  func(c *connected, started api.OAuthStart)
		answer  url.Values // the query beside state; nil: the user consents
		page    int
		message string
		status  string
		word    string
	}{
		{"denied", nil, url.Values{"error": {"access_denied"}, "error_description": {"<b>c4nary</b>"}}, 200, "Acme wasn’t connected", api.FlowDenied, "access_denied"},
		{"provider's error", nil, url.Values{"error": {"invalid_scope"}, "error_uri": {"https://c4nary.example"}}, 502, "Acme refused", api.FlowFailed, "invalid_scope"},
		{"an error that is none", nil, url.Values{"error": {"<script>c4nary"}}, 502, "couldn’t be connected", api.FlowFailed, "unreadable_error"},
		{"a code of nobody", nil, url.Values{"code": {"c4nary"}}, 502, "couldn’t be connected", api.FlowFailed, "invalid_grant"},
		{"wrong issuer", nil, url.Values{"code": {"c4nary"}, "iss": {"https://evil.example"}}, 400, "didn’t come from Acme", api.FlowFailed, "wrong_issuer"},
		{"provider is down", func(c *connected, _ api.OAuthStart) { c.provider.Close() }, nil, 502, "Acme didn’t answer", api.FlowFailed, "unreachable"},
		{"provider says 500 after committing", func(c *connected, _ api.OAuthStart) {
			c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{after: 500} } })
		}, nil, 502, "couldn’t be connected", api.FlowFailed, "status_500"},
		{"vault is refused as a client", func(c *connected, _ api.OAuthStart) {
			c.provider.set(func(p *provider) {
				p.fail = func(string) failure { return failure{before: 401, code: "invalid_client"} }
			})
		}, nil, 502, "isn’t configured correctly", api.FlowFailed, "invalid_client"},
		{"expired", func(c *connected, _ api.OAuthStart) {
			alter(c.t, c.vault.store, `UPDATE oauth_flows SET expires_at = 1`)
		}, nil, 410, "expired", api.FlowFailed, "expired"},
		{"interrupted", func(c *connected, _ api.OAuthStart) {
			alter(c.t, c.vault.store, `UPDATE oauth_flows SET status = 'exchanging', updated_at = 1`)
		}, nil, 409, "already used", api.FlowFailed, "interrupted"},
		{"the key was revoked", func(c *connected, _ api.OAuthStart) {
			k, err := c.vault.store.CreateTenantKey(c.t.Context(), "acme")
			if err != nil {
				c.t.Fatal(err)
			}
			if err := c.vault.store.RevokeKey(c.t.Context(), c.owner.KeyID); err != nil {
				c.t.Fatal(err)
			}
			c.key, c.owner = k.Key, actorOf(c.t, c.vault.store, k.Key)
		}, nil, 403, "no longer valid", api.FlowFailed, "key_revoked"},
		{"the name was taken", func(c *connected, _ api.OAuthStart) {
			bound(c.t, c.vault.store, c.owner, "ACME_TOKEN", "another")
		}, nil, 409, "belongs to another secret", api.FlowFailed, "name_taken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newConnected(t, 3600)
			c.t = t
			started := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"})
			if test.before != nil {
				test.before(c, started)
			}
			answer := test.answer
			if answer == nil {
				answer = c.provider.consent(t, started.AuthorizeURL)
			} else {
				answer.Set("state", started.State)
			}
			wantPage(t, c.callback(answer), test.page, test.message, "c4nary", started.State, answer.Get("code"))
			got := c.status(started.State)
			if got.Status != test.status || got.Error != test.word || got.Message == "" || got.SecretID != "" {
				t.Errorf("status: %+v", got)
			}
			list, _, err := c.vault.store.Secrets(t.Context(), c.owner, store.SecretFilter{Type: oauth.TypeAccount})
			if err != nil || len(list) != 0 {
				t.Errorf("%d secrets, %v", len(list), err)
			}
		})
	}
}

// Callbacks without a flow, or with an invalid query, end no flow.
func TestCallbackOfNoFlow(t *testing.T) {
	c := newConnected(t, 3600)
	started := c.start(nil)
	forged := []byte(started.State)
	forged[10] ^= 1
	for _, test := range []struct {
		name    string
		q       url.Values
		status  int
		message string
	}{
		{"nothing", url.Values{}, 400, "isn’t complete"},
		{"no state", url.Values{"code": {"x"}}, 400, "isn’t complete"},
		{"no code", url.Values{"state": {started.State}}, 400, "isn’t complete"},
		{"state twice", url.Values{"state": {started.State, started.State}, "code": {"x"}}, 400, "isn’t complete"},
		{"code twice", url.Values{"state": {started.State}, "code": {"x", "y"}}, 400, "isn’t complete"},
		{"forged", url.Values{"state": {string(forged)}, "code": {"x"}}, 404, "isn’t known"},
		{"longer", url.Values{"state": {started.State + "A"}, "code": {"x"}}, 404, "isn’t known"},
		{"long", url.Values{"state": {strings.Repeat("a", 5000)}, "code": {"x"}}, 404, "isn’t known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantPage(t, c.callback(test.q), test.status, test.message, started.State)
		})
	}
	head := httptest.NewRecorder()
	answer := c.provider.consent(t, started.AuthorizeURL)
	c.vault.handler().ServeHTTP(head, httptest.NewRequest("HEAD", "https://vault.example/api/v1/egress/oauth/callback?"+answer.Encode(), http.NoBody))
	if head.Code != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %d", head.Code)
	}
	if c.status(started.State).Status != api.FlowPending || c.provider.requests() != 0 {
		t.Error("the flow has ended")
	}
	wantPage(t, c.callback(answer), http.StatusOK, "connected")
	const most = 1000 // more than the burst of 100, since some time passes
	for i := 0; ; i++ {
		w := c.callback(url.Values{"state": {fmt.Sprint("guess ", i)}, "code": {"x"}})
		if w.Code == http.StatusTooManyRequests || i == most {
			wantPage(t, w, http.StatusTooManyRequests, "Too many tries")
			break
		}
	}
}

// Invalid requests are refused at start, before a user is sent to the provider.
func TestStartRefuses(t *testing.T) {
	c := newConnected(t, 3600)
	bound(t, c.vault.store, c.owner, "TAKEN", "x")
	for _, test := range []struct {
		name, body string
		status     int
		message    string
	}{
		{"nothing", `{}`, 422, "provider is required"},
		{"unknown", `{"provider":"gitbuh"}`, 422, "GET /egress/oauth/providers"},
		{"scope", `{"provider":"acme","scope":"re\"po"}`, 422, "scope must be"},
		{"space", `{"provider":"acme","scope":" "}`, 422, "scope must be"},
		{"resource", `{"provider":"acme","resource_type":"sandbox"}`, 422, "resource_id"},
		{"name", `{"provider":"acme","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"1X"}`, 422, "expose_as_env must be"},
		{"taken", `{"provider":"acme","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"TAKEN"}`, 409, "bound to another secret"},
		{"redirect", `{"provider":"acme","redirect_uri":"https://evil.example/cb"}`, 422, "redirect_uri isn't on the list"},
		{"almost", `{"provider":"acme","redirect_uri":"https://vault.example/api/v1/egress/oauth/callback/"}`, 422, "byte for byte"},
		{"its own", `{"provider":"acme","redirect_uri":"https://vault.example/api/v1/egress/oauth/callback"}`, 200, "authorize_url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := c.do("POST", "/egress/oauth/start", test.body)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.message) {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	if w := c.do("GET", "/egress/oauth/status?state=nope", ""); w.Code != http.StatusNotFound {
		t.Errorf("unknown state: %d", w.Code)
	}
	if w := c.do("GET", "/egress/oauth/status", ""); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("no state: %d", w.Code)
	}
}

func TestOldFlowsAreForgotten(t *testing.T) {
	c := newConnected(t, 3600)
	old := c.start(nil)
	alter(t, c.vault.store, `UPDATE oauth_flows SET created_at = 1`)
	c.start(nil)
	if w := c.do("GET", "/egress/oauth/status?state="+old.State, ""); w.Code != http.StatusNotFound {
		t.Errorf("status %d", w.Code)
	}
}

// Client credentials: the token is requested before the secret is stored, delivered instead of the client secret,
// and refreshed.
func TestMachine(t *testing.T) {
	c := newConnected(t, 3600).withoutScheduler()
	body := func(more string) string {
		return `{"name":"acme","type":"oauth_machine","value":"the client's secret","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"ACME_TOKEN",
			"metadata":{"team":"x","oauth":{"token_url":"` + c.provider.URL + `/token","client_id":"m","scopes":["read"]` + more + `}}}`
	}
	c.provider.set(func(p *provider) {
		p.fail = func(string) failure { return failure{before: 401, code: "invalid_client"} }
	})
	if w := c.do("POST", "/egress/secrets", body("")); w.Code != 422 || !strings.Contains(w.Body.String(), "refused the client: invalid_client") {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
	c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{before: 503} } })
	if w := c.do("POST", "/egress/secrets", body("")); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("down: %d %s", w.Code, w.Body)
	}
	if list, _, _ := c.vault.store.Secrets(t.Context(), c.owner, store.SecretFilter{}); len(list) != 0 {
		t.Fatal("stored without a token")
	}
	c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{} } })
	w := c.do("POST", "/egress/secrets", body(""))
	if w.Code != http.StatusCreated || strings.Contains(w.Body.String(), "the client's secret") {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	first := c.value()
	secret := c.secret()
	if !strings.HasPrefix(first, "at-") || secret.ExpiresAt == nil || !strings.Contains(string(secret.Metadata), `"team":"x"`) ||
		!strings.Contains(string(secret.Metadata), `"status":"connected"`) {
		t.Errorf("secret: %+v", secret)
	}
	if err := c.renew(); err != nil {
		t.Fatal(err)
	}
	second := c.value()
	if second == first || c.secret().Version != 2 {
		t.Error("not refreshed")
	}
	if w := c.do("PATCH", "/egress/secrets/"+secret.ID, `{"value":"the next secret"}`); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if c.value() == second || !strings.HasPrefix(c.value(), "at-") || c.secret().Version != 3 {
		t.Error("no new token for a new client secret")
	}
	if err := c.renew(); err != nil || c.secret().Version != 4 {
		t.Errorf("not refreshed after that: %v", err)
	}
	for name, test := range map[string][2]string{
		"no metadata":   {`{"name":"a","type":"oauth_machine","value":"v"}`, "metadata.oauth.token_url is required"},
		"plain http":    {`{"name":"a","type":"oauth_machine","value":"v","metadata":{"oauth":{"token_url":"http://id.example/t","client_id":"m"}}}`, "metadata.oauth.token_url must begin with https://"},
		"no client":     {`{"name":"a","type":"oauth_machine","value":"v","metadata":{"oauth":{"token_url":"https://id.example/t"}}}`, "client_id is required"},
		"odd scopes":    {`{"name":"a","type":"oauth_machine","value":"v","metadata":{"oauth":{"token_url":"https://id.example/t","scopes":"a b"}}}`, "scopes, a list of texts"},
		"client_auth":   {strings.Replace(body(""), `"scopes"`, `"client_auth":"x","scopes"`, 1), "client_auth must be"},
		"refresh_token": {`{"name":"a","type":"oauth_machine","value":"v","refresh_token":"r","metadata":{}}`, "refresh_token has no meaning"},
		"expires_at":    {`{"name":"a","type":"oauth_machine","value":"v","expires_at":"2100-01-01T00:00:00Z","metadata":{}}`, "expires_at is set by the provider"},
	} {
		t.Run(name, func(t *testing.T) {
			if w := c.do("POST", "/egress/secrets", test[0]); w.Code != 422 || !strings.Contains(w.Body.String(), test[1]) {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
}

// A token imported from elsewhere is refreshed if its metadata names the provider.
func TestTokenFromElsewhere(t *testing.T) {
	c := newConnected(t, 3600).withoutScheduler()
	c.provider.set(func(p *provider) { p.refresh["rt-elsewhere"] = true })
	body := `{"name":"acme","type":"oauth_connect","value":"at-elsewhere","refresh_token":"rt-elsewhere","expires_at":"2100-01-01T00:00:00Z",
		"metadata":{"oauth":{"provider":"acme"}},"resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"ACME_TOKEN"}`
	if w := c.do("POST", "/egress/secrets", body); w.Code != http.StatusCreated {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if err := c.renew(); err != nil || c.value() == "at-elsewhere" {
		t.Errorf("not refreshed: %v", err)
	}
	// Replacing it without that metadata ends the refreshes.
	if w := c.do("POST", "/egress/secrets", `{"name":"acme","value":"plain","resource_type":"sandbox","resource_id":"sb_1"}`); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var n int
	look(t, c.vault.store, &n, `SELECT COUNT(*) FROM oauth_grants`)
	if n != 0 || c.secret().OAuthProvider != "" {
		t.Errorf("%d grants", n)
	}
}

// No file of the store contains a state, code or token in plaintext.
func TestOAuthLeavesNothingReadable(t *testing.T) {
	c := newConnected(t, 3600)
	started := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"})
	answer := c.provider.consent(t, started.AuthorizeURL)
	c.callback(answer)
	canaries := []string{started.State, answer.Get("code"), c.value()}
	c.provider.set(func(p *provider) {
		for token := range p.refresh {
			canaries = append(canaries, token)
		}
	})
	if err := c.vault.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range canary.Files(t, c.conf.Store.DataDir) {
		for _, value := range canaries {
			for _, form := range canary.Forms(value) {
				if strings.Contains(text, form) {
					t.Errorf("%s contains a token, code or state", name)
				}
			}
		}
	}
}
