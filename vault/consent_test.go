package vault

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// begin starts a flow, without continuing from the vault's page.
func (c *connected) begin(body string) (link, state string) {
	c.t.Helper()
	w := c.do("POST", "/egress/oauth/start", body)
	started := decodeStart(c.t, w)
	return started.AuthorizeURL, started.State
}

// wantConsentPage checks what the page has in common before and after the user has continued.
func wantConsentPage(t *testing.T, w *httptest.ResponseRecorder, referrer string) {
	t.Helper()
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != http.StatusOK || !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") ||
		!strings.HasSuffix(policy, "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'") {
		t.Errorf("status %d, policy %q", w.Code, policy)
	}
	if got := w.Header().Get("Referrer-Policy"); got != referrer || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Referrer-Policy %q, Cache-Control %q", got, w.Header().Get("Cache-Control"))
	}
	if strings.Contains(w.Body.String(), "<script") {
		t.Error("the page has a script")
	}
}

// The page names who gets access to what, escaped, and sends the browser on after its button was pressed on it.
func TestConsentPage(t *testing.T) {
	c := newConnected(t, 3600)
	link, state := c.begin(`{"provider":"acme","scope":"repo <script>alert(1)</script> 'x'","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"ACME_TOKEN"}`)
	if !strings.HasPrefix(link, "https://vault.example/api/v1/egress/oauth/connect?state=") {
		t.Fatalf("the link is %s", link)
	}
	w := c.browse("GET", link)
	wantConsentPage(t, w, "same-origin")
	for _, text := range []string{"Connect Acme?", "<dd>acme</dd>", "sandbox sb_1", "<code>ACME_TOKEN</code>", "<code>repo</code>",
		"<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>", "&#39;x&#39;"} {
		if !strings.Contains(w.Body.String(), text) {
			t.Errorf("the page doesn't contain %q:\n%s", text, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), state) || len(w.Result().Cookies()) != 0 || w.Header().Get("Refresh") != "" {
		t.Error("the page contains the state, sets a cookie, or leads on by itself")
	}
	// Another site, or an older browser on another site, presses nothing.
	for _, from := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		w := c.browse("POST", link, from...)
		wantConsentPage(t, w, "same-origin")
		if len(w.Result().Cookies()) != 0 || w.Header().Get("Refresh") != "" {
			t.Errorf("%v continued", from)
		}
	}
	w = c.browse("POST", link, "Origin", "https://vault.example", "Sec-Fetch-Site", "same-origin")
	wantConsentPage(t, w, "no-referrer")
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	if k := cookies[0]; !strings.HasPrefix(k.Name, "__Host-") || !k.Secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" ||
		k.Domain != "" || k.MaxAge < 500 || k.MaxAge > 600 || strings.Contains(k.String(), state) {
		t.Errorf("cookie %s with Max-Age %d", k.Name, k.MaxAge)
	}
	to, err := url.Parse(strings.TrimPrefix(w.Header().Get("Refresh"), "0; url="))
	if err != nil || !strings.HasPrefix(to.String(), c.provider.URL+"/authorize?") || to.Query().Get("scope") != "repo <script>alert(1)</script> 'x'" {
		t.Errorf("the provider's link is %s, %v", to, err)
	}
	for link, status := range map[string]int{
		"https://vault.example/api/v1/egress/oauth/connect":                        http.StatusBadRequest,
		"https://vault.example/api/v1/egress/oauth/connect?state=unknown":          http.StatusNotFound,
		"https://vault.example/api/v1/egress/oauth/connect?state=a&state=" + state: http.StatusBadRequest,
	} {
		for _, method := range []string{"GET", "POST"} {
			if w := c.browse(method, link); w.Code != status || len(w.Result().Cookies()) != 0 {
				t.Errorf("%s %s: status %d", method, link, w.Code)
			}
		}
	}
}

// A user who was sent the provider's link, past the page, connects nothing: not without a cookie, nor with one of another
// flow. The flow goes on, in the browser that has continued.
func TestAttack_LinkPastThePage(t *testing.T) {
	c := newConnected(t, 3600)
	started := c.start(nil)
	attackers := maps.Clone(c.cookies)
	clear(c.cookies)
	answer := c.provider.consent(t, started.AuthorizeURL)
	wantPage(t, c.callback(answer), http.StatusForbidden, "Please open the link again", started.State)
	denied := url.Values{"state": {started.State}, "error": {"access_denied"}}
	wantPage(t, c.callback(denied), http.StatusForbidden, "Please open the link again", started.State)
	c.start(nil) // the victim's own flow, with a cookie of its own
	victims := maps.Clone(c.cookies)
	wantPage(t, c.callback(answer), http.StatusForbidden, "Please open the link again", started.State)
	for own := range attackers {
		for _, value := range victims {
			c.cookies[own] = value // of another flow
		}
	}
	wantPage(t, c.callback(answer), http.StatusForbidden, "Please open the link again", started.State)
	if got := c.status(started.State); got.Status != api.FlowPending || c.provider.requests() != 0 {
		t.Errorf("the flow is %s, after %d requests to the provider", got.Status, c.provider.requests())
	}
	c.cookies = attackers
	wantPage(t, c.callback(answer), http.StatusOK, "Acme is connected")
}

// With any_browser, a flow may end in any browser, as where a platform's server passes the provider's answer on.
func TestAnyBrowser(t *testing.T) {
	c := newConnected(t, 3600)
	c.configure("any_browser = true")
	started := c.start(nil)
	clear(c.cookies)
	wantPage(t, c.callback(c.provider.consent(t, started.AuthorizeURL)), http.StatusOK, "Acme is connected")
}
