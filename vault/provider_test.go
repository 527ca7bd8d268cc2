package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// provider is a token endpoint that follows RFC 6749 and 9700: codes and refresh tokens work once, and PKCE is
// checked. Tests can make it fail at any point. Browser tests use an independent server instead.
type provider struct {
	*httptest.Server

	mu      sync.Mutex        // guards the fields below
	codes   map[string]string // code to challenge
	refresh map[string]bool   // refresh token to validity
	life    int               // seconds; 0: tokens do not expire
	fail    func(grant string) failure
	asked   []string // grant types of the requests
	padding int      // bytes by which tokens are longer
	held    chan struct{}
}

// failure describes how one request fails.
type failure struct {
	before int  // answer with this status, without effect
	after  int  // process the request, then answer with this status
	drop   bool // process the request, then close the connection
	code   string
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{codes: map[string]string{}, refresh: map[string]bool{}, life: 3600, fail: func(string) failure { return failure{} }}
	p.Server = httptest.NewServer(http.HandlerFunc(p.token))
	t.Cleanup(p.Close)
	return p
}

// consent acts as the user: it turns a link into the query with which the browser returns.
func (p *provider) consent(t testing.TB, link string) url.Values {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	code := rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = u.Query().Get("code_challenge")
	return url.Values{"state": {u.Query().Get("state")}, "code": {code}}
}

func (p *provider) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

func (p *provider) set(do func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do(p)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	grant := r.Form.Get("grant_type")
	p.asked = append(p.asked, grant)
	f, held := p.fail(grant), p.held
	p.mu.Unlock()
	if held != nil {
		<-held
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
	}
	if f.before != 0 {
		refuse(f.before, f.code)
		return
	}
	switch grant {
	case "authorization_code":
		challenge, ok := p.codes[r.Form.Get("code")]
		delete(p.codes, r.Form.Get("code"))
		sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
		if !ok || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			refuse(http.StatusBadRequest, "invalid_grant")
			return
		}
	case "refresh_token":
		used := r.Form.Get("refresh_token")
		if !p.refresh[used] { // reused: revokes the whole family
			clear(p.refresh)
			refuse(http.StatusBadRequest, "invalid_grant")
			return
		}
		p.refresh[used] = false
	}
	answer := map[string]any{"access_token": "at-" + rand.Text() + strings.Repeat("x", p.padding), "token_type": "bearer"}
	if p.life != 0 {
		answer["expires_in"] = p.life
	}
	if grant != "client_credentials" {
		next := "rt-" + rand.Text()
		p.refresh[next] = true
		answer["refresh_token"] = next
	}
	switch {
	case f.drop:
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close()
		}
		return
	case f.after != 0:
		w.WriteHeader(f.after)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// connected is a vault with one provider and an account that a user has connected, bound to box1.
type connected struct {
	t        testing.TB
	provider *provider
	vault    *Vault
	conf     Config
	owner    store.Actor
	reader   store.Actor
	key      api.Key
	cookies  map[string]string // of the user's browser
}

func (c *connected) open() {
	c.t.Helper()
	v, err := Open(c.t.Context(), c.conf)
	if err != nil {
		c.t.Fatal(err)
	}
	c.vault = v
}

// reopen simulates another process taking over: existing claims remain.
func (c *connected) reopen() {
	c.t.Helper()
	if err := c.vault.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.open()
}

// connect creates the vault and the connection, with tokens of the given lifetime.
func connect(t testing.TB, life int) *connected {
	t.Helper()
	c := newConnected(t, life)
	state := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"})
	if page := c.callback(c.provider.consent(t, state.AuthorizeURL)); page.Code != http.StatusOK {
		t.Fatalf("status %d: %s", page.Code, page.Body)
	}
	return c
}

func newConnected(t testing.TB, life int) *connected {
	t.Helper()
	p := newProvider(t)
	p.life = life
	file := filepath.Join(t.TempDir(), "oauth.toml")
	text := "[machine]\ntoken_urls=['" + p.URL + "/token']\n[[provider]]\nname='acme'\ndisplay_name='Acme'\nauthorize_url='" + p.URL +
		"/authorize'\ntoken_url='" + p.URL + "/token'\nclient_id='miosa'\nclient_auth='none'\nscopes=['read']\n"
	if err := os.WriteFile(file, []byte("public_url='https://vault.example'\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	providers, err := oauth.Load(file, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &connected{t: t, provider: p, cookies: map[string]string{}, conf: Config{
		Store:  store.Config{DataDir: dir, Database: postgrestest.Database(t, dir), RootKey: keyring.Root{Text: root}, Log: zerolog.New(zerolog.NewTestWriter(t))},
		Limits: limit.Values{limit.KeyRequests: 1e6, limit.KeyBurst: 1e6, limit.TenantWrites: 1e6, limit.TenantEvents: 1e6}, OAuth: providers,
	}}
	c.open()
	t.Cleanup(func() { _ = c.vault.Close() })
	k, err := c.vault.store.CreateTenantKey(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	c.key, c.owner = k.Key, actorOf(t, c.vault.store, k.Key)
	c.reader = agent(t, c.vault.store, c.owner, box1)
	return c
}

func (c *connected) do(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://vault.example"+basePath+path, strings.NewReader(body)).WithContext(context.Background())
	r.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	w := httptest.NewRecorder()
	c.vault.handler().ServeHTTP(w, r)
	return w
}

func (c *connected) start(more map[string]string) (started api.OAuthStart) {
	c.t.Helper()
	body := map[string]string{"provider": "acme"}
	for k, v := range more {
		body[k] = v
	}
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	started = decodeStart(c.t, c.do("POST", "/egress/oauth/start", string(text)))
	started.AuthorizeURL = c.proceed(started.AuthorizeURL)
	return started
}

func decodeStart(t testing.TB, w *httptest.ResponseRecorder) (started api.OAuthStart) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &started); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return started
}

// browse sends a request of the user's browser, with its cookies.
func (c *connected) browse(method, link string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, link, http.NoBody)
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.vault.handler().ServeHTTP(w, r)
	return w
}

// proceed continues from the vault's page to the provider, and returns the provider's link.
func (c *connected) proceed(link string) string {
	c.t.Helper()
	if w := c.browse("GET", link); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Connect Acme?") {
		c.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	w := c.browse("POST", link, "Sec-Fetch-Site", "same-origin")
	_, to, ok := strings.Cut(w.Header().Get("Refresh"), "0; url=")
	if w.Code != http.StatusOK || !ok {
		c.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for _, cookie := range w.Result().Cookies() {
		c.cookies[cookie.Name] = cookie.Value
	}
	return to
}

func (c *connected) callback(q url.Values) *httptest.ResponseRecorder {
	return c.browse("GET", "https://vault.example"+oauth.CallbackPath+"?"+q.Encode())
}

func (c *connected) status(state string) (s api.OAuthStatus) {
	c.t.Helper()
	w := c.do("GET", "/egress/oauth/status?state="+url.QueryEscape(state), "")
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK {
		c.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return s
}

// secret returns the only secret.
func (c *connected) secret() api.Secret {
	c.t.Helper()
	list, _, err := c.vault.store.Secrets(c.t.Context(), c.owner, store.SecretFilter{})
	if err != nil || len(list) != 1 {
		c.t.Fatalf("%d secrets, %v", len(list), err)
	}
	return list[0]
}

// value returns the value that box1 gets.
func (c *connected) value() string {
	c.t.Helper()
	return revealed(c.t, c.vault.store, c.reader)["ACME_TOKEN"]
}

// due makes the token due for a refresh and expires any claim.
func (c *connected) due() {
	c.t.Helper()
	alter(c.t, c.vault.store, `UPDATE oauth_grants SET due_at = 1, claimed_until = 0 WHERE due_at IS NOT NULL`)
}

// renew refreshes the due token and returns when the attempt has ended.
func (c *connected) renew() error {
	c.t.Helper()
	c.due()
	got := <-c.vault.refresh.start(c.t.Context(), c.owner.TenantID, c.secret().ID, 0)
	return got.Err
}
