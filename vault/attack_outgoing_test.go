package vault

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// configure gives the vault another configuration of providers beside c's own, and restarts it.
func (c *connected) configure(more string) {
	c.t.Helper()
	text := "public_url='https://vault.example'\n" + more + "\n[[provider]]\nname='acme'\ndisplay_name='Acme'\nauthorize_url='" + c.provider.URL +
		"/authorize'\ntoken_url='" + c.provider.URL + "/token'\nclient_id='miosa'\nclient_auth='none'\nscopes=['read']\n"
	file := filepath.Join(c.t.TempDir(), "oauth.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	providers, err := oauth.Load(file, os.Getenv)
	if err != nil {
		c.t.Fatal(err)
	}
	c.conf.OAuth = providers
	c.reopen()
}

// as returns c with the key of another tenant.
func (c *connected) as(name string) *connected {
	c.t.Helper()
	k, err := c.vault.store.CreateTenantKey(c.t.Context(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	other := *c
	other.key, other.owner = k.Key, actorOf(c.t, c.vault.store, k.Key)
	return &other
}

// wantRenewals waits for n renewals of the token of box1. None may come after the token has expired.
func (c *connected) wantRenewals(n int) {
	c.t.Helper()
	seen := map[string]bool{c.value(): true}
	for range n {
		etag := snapshot(c.t, c.vault.store, c.reader).Etag
		if err := c.vault.store.Await(c.t.Context(), c.reader, box1, etag, 20*time.Second); err != nil {
			c.t.Fatal(err)
		}
		if c.value() == "" {
			c.t.Fatal("the token expired before it was refreshed")
		}
		seen[c.value()] = true
	}
	if len(seen) != n+1 {
		c.t.Errorf("%d tokens, want %d", len(seen), n+1)
	}
}

// silent is a handler that doesn't answer until end is called.
func silent() (handle http.HandlerFunc, running *atomic.Int32, end func()) {
	running = new(atomic.Int32)
	ended := make(chan struct{})
	handle = func(_ http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}
	return handle, running, sync.OnceFunc(func() { close(ended) })
}

// A tenant has 64 tokens whose token URLs, each at another host, stop answering. The tokens of another tenant are renewed
// before they expire, and the first tenant's own calls are refused when they need another request.
func TestAttack_HangingTokenURLs(t *testing.T) {
	needs.Long(t, "requests hang for their full time")
	t.Parallel() // most of it is waiting
	const urls = 64
	c := newConnected(t, 6)
	var hang atomic.Bool
	hold, running, end := silent()
	var list []string
	for range urls {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if hang.Load() {
				hold(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"at","token_type":"bearer","expires_in":3600}`))
		}))
		t.Cleanup(func() { end(); s.Close() })
		list = append(list, s.URL+"/token")
	}
	c.configure("[machine]\ntoken_urls=['" + strings.Join(list, "','") + "']")
	state := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"})
	if w := c.callback(c.provider.consent(t, state.AuthorizeURL)); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	evil := c.as("evil")
	put := func(n int) *httptest.ResponseRecorder {
		return evil.do("POST", "/egress/secrets", fmt.Sprintf(`{"name":"m%d","type":"oauth_machine","value":"s",
			"metadata":{"oauth":{"token_url":%q,"client_id":"m"}}}`, n, list[n]))
	}
	for n := range urls {
		if w := put(n); w.Code != http.StatusCreated {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	hang.Store(true)
	alter(t, c.vault.store, `UPDATE oauth_grants SET due_at = 1 WHERE tenant_id = $1`, evil.owner.TenantID)
	nudgeScheduler(t, c)
	most := int32(c.conf.Limits.Of(limit.TenantOAuthRequests))
	poll.Until(t, 20*time.Second, "requests hang", func() bool { return running.Load() == most })
	if w := put(0); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "limit tenant_oauth_requests: 8 at the same time") {
		t.Errorf("one more request: status %d: %s", w.Code, w.Body)
	}
	c.wantRenewals(3)
	if n := running.Load(); n > most {
		t.Errorf("%d requests of one tenant", n)
	}
}

// nudgeScheduler makes the scheduler read the schedules again, as any change of a schedule does.
func nudgeScheduler(t *testing.T, c *connected) {
	t.Helper()
	other := c.as("bystander")
	body := `{"name":"other","type":"oauth_connect","value":"at","refresh_token":"rt","metadata":{"oauth":{"provider":"acme"}}}`
	if w := other.do("POST", "/egress/secrets", body); w.Code != http.StatusCreated {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
}

// An issuer accepts connections and doesn't answer. Tenants that start flows there get an error within seconds, no claim
// is held while the issuer is asked, and flows, reveals and renewals of others at another provider go on.
func TestAttack_HangingIssuer(t *testing.T) {
	needs.Long(t, "requests hang for their full time")
	t.Parallel() // most of it is waiting
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var asked atomic.Int32
	go func() {
		for {
			accepted, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			t.Cleanup(func() { _ = accepted.Close() })
		}
	}()
	c := newConnected(t, 6)
	c.configure("[[provider]]\nname='hangs'\nissuer='http://" + l.Addr().String() + "'\nclient_id='miosa'\nclient_auth='none'\n")
	begin := map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"}
	state := c.start(begin)
	if w := c.callback(c.provider.consent(t, state.AuthorizeURL)); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	evil := c.as("evil")
	for n := range 64 {
		body := fmt.Sprintf(`{"name":"t%d","type":"oauth_connect","value":"at","refresh_token":"rt","expires_at":"2100-01-01T00:00:00Z",
			"metadata":{"oauth":{"provider":"hangs"}}}`, n)
		if w := evil.do("POST", "/egress/secrets", body); w.Code != http.StatusCreated {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	alter(t, c.vault.store, `UPDATE oauth_grants SET due_at = 1 WHERE tenant_id = $1`, evil.owner.TenantID)
	nudgeScheduler(t, c)
	poll.Until(t, 20*time.Second, "the issuer is asked", func() bool { return asked.Load() > 0 })
	var claims int
	if look(t, c.vault.store, &claims, `SELECT COUNT(*) FROM oauth_grants WHERE provider = 'hangs' AND claimed_until > 0`); claims != 0 {
		t.Errorf("%d claims are held while the issuer is asked", claims)
	}

	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			began := time.Now()
			w := evil.do("POST", "/egress/oauth/start", `{"provider":"hangs"}`)
			if took := time.Since(began); w.Code != http.StatusTooManyRequests && w.Code != http.StatusServiceUnavailable || took > discoverTimeout+5*time.Second {
				t.Errorf("status %d after %s: %s", w.Code, took, w.Body)
			}
		})
	}
	for range 20 { // meanwhile
		began := time.Now()
		c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_2", "expose_as_env": "ACME_TOKEN"})
		if c.value() == "" {
			t.Error("nothing is revealed")
		}
		if took := time.Since(began); took > discoverTimeout/2 {
			t.Errorf("another tenant's flow and reveal took %s", took)
		}
	}
	all.Wait()
	c.wantRenewals(2)
}

// A process leaves tokens of a provider that it doesn't know to processes that do.
func TestUnknownProvider(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	known := c.conf.OAuth
	c.conf.OAuth = nil
	c.reopen()
	c.due()
	nudge := c.as("other")
	if w := nudge.do("POST", "/egress/secrets", `{"name":"other","value":"x"}`); w.Code != http.StatusCreated {
		t.Fatalf("status %d", w.Code)
	}
	if got := <-c.vault.refresh.start(t.Context(), c.owner.TenantID, c.secret().ID, 0); got.Err != nil {
		t.Errorf("got %v", got.Err)
	}
	c.wantHealth(api.OAuthConnected, "")
	var failures int
	if look(t, c.vault.store, &failures, `SELECT failures + unclear FROM oauth_grants`); failures != 0 {
		t.Errorf("%d failures", failures)
	}
	c.conf.OAuth = known
	c.reopen()
	poll.Until(t, 10*time.Second, "refreshed by one that knows the provider", func() bool { return c.secret().Version == 2 })
}

// The answer for a token URL is the same, byte for byte, whether its host is private, the vault itself, or a port on which
// nothing listens.
func TestAttack_PrivateHosts(t *testing.T) {
	t.Parallel() // each refusal takes seconds
	c := newConnected(t, 3600)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(c.provider.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	urls := []string{"https://127.0.0.1:" + port, "https://127.0.0.1:1", "https://10.0.0.1", "https://169.254.169.254/latest", "https://[::1]:" + port,
		"https://[64:ff9b::7f00:1]:" + port, "https://vault.example"}
	answers := make([]string, len(urls))
	var all sync.WaitGroup
	for i, u := range urls {
		all.Go(func() {
			r := httptest.NewRequest("POST", "https://vault.example"+basePath+"/egress/secrets", strings.NewReader(
				`{"name":"m","type":"oauth_machine","value":"s","metadata":{"oauth":{"token_url":"`+u+`","client_id":"m"}}}`))
			r.Header.Set("Authorization", "Bearer "+c.key.Reveal())
			r.Header.Set("X-Request-ID", "same")
			w := httptest.NewRecorder()
			c.vault.handler().ServeHTTP(w, r)
			answers[i] = fmt.Sprint(w.Code, w.Header(), w.Body)
		})
	}
	all.Wait()
	for i, answer := range answers {
		if answer != answers[0] || !strings.HasPrefix(answer, "503") || !strings.Contains(answer, "it must have a public address") {
			t.Errorf("%s: %s", urls[i], answer)
		}
	}
	if n := c.provider.requests(); n != 0 {
		t.Errorf("%d requests reached a loopback address", n)
	}
}
