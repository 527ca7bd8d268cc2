package oauthtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// TestConnect takes users through the provider's pages and back to the vault. Each is another user, in a tab
// without shared cookies.
func TestConnect(t *testing.T) {
	t.Parallel()
	provider := authserver.Start(t, authserver.Config{TokenLife: time.Hour})
	first := browser.Start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context, *authserver.Server)
	}{
		{"consent", consent},
		{"denied", denied},
		{"expired", expired},
		{"replayed", replayed},
		{"forged", forged},
		{"wrong issuer", wrongIssuer},
		{"variable taken", taken},
		{"by way of an app", byWayOfApp},
		{"no answer to the code", failedExchange},
		{"vault away", vaultAway},
		{"page before", pageBefore},
		{"past the page", pastPage},
		{"provider gone", providerGone},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, browser.Tab(t, first, chromedp.WithNewBrowserContext()), provider)
		})
	}
	// Chromium reports the status of an error page as a problem. The provider's pages request a font.
	for _, p := range browser.Problems(first) {
		failed := p.Source == "network" && strings.Contains(p.Text, "responded with a status of")
		if !failed && !strings.HasPrefix(p.URL, "https://fonts.googleapis.com/") {
			t.Errorf("a page has a problem: %s", p)
		}
	}
}

// consent connects with both providers, to use both ways of client authentication.
func consent(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	signIn := []step{authserver.SignIn("ada"), authserver.Allow()}
	for _, test := range []struct {
		provider, display, env string
		scopes                 []string
	}{
		{"acme", "Acme", "ACME_TOKEN", []string{"openid", "repo"}}, // offline_access is requested too, but not granted
		{"acme-post", "Acme Post", "OTHER_TOKEN", []string{"openid", "repo"}},
	} {
		begun := s.start(t, test.provider, test.env)
		s.wantStatus(t, begun, api.FlowPending, "")
		link, err := vaulttest.Continue(vaulttest.Browser(), begun.AuthorizeURL)
		if err != nil {
			t.Fatal(err)
		}
		if q := link.Query(); q.Get("code_challenge_method") != "S256" || q.Get("state") != begun.State || q.Get("redirect_uri") != s.callback() {
			t.Errorf("the link has method %q, redirect URI %q; the state is the flow's: %v",
				q.Get("code_challenge_method"), q.Get("redirect_uri"), q.Get("state") == begun.State)
		}

		page := visit(t, tab, begun.AuthorizeURL, signIn...)
		signIn = signIn[1:] // a signed-in user is asked for consent only
		page.wantText(t, http.StatusOK, test.display+" is connected", "close this tab")

		status := s.status(t, begun)
		if status.Status != api.FlowCompleted || status.SecretID == "" {
			t.Fatalf("the flow is %q with error %q", status.Status, status.Error)
		}
		secret, health := s.secret(t, status.SecretID)
		if secret.Type != "oauth_connect" || secret.Version != 1 || secret.ExpiresAt == nil || time.Until(*secret.ExpiresAt) > time.Hour {
			t.Errorf("the secret is of type %q, version %d, expires at %v", secret.Type, secret.Version, secret.ExpiresAt)
		}
		if diff := cmp.Diff(map[string]any{"provider": test.provider, "status": "connected", "scopes": test.scopes},
			map[string]any{"provider": health.Provider, "status": health.Status, "scopes": health.Scopes}); diff != "" {
			t.Errorf("metadata.oauth (-want +got):\n%s", diff)
		}
		token, version, ok := s.revealed(t, test.env)
		if !ok || version != 1 {
			t.Fatalf("the sandbox has it: %v, version %d", ok, version)
		}
		s.worksFor(t, test.env, token, "ada")
		if test.provider == "acme" {
			page.fit(t, "ok", token)
		}
	}
	if n := s.audited(t, "oauth.callback", "ok", ""); n != 2 {
		t.Errorf("%d events of accounts that were connected, want 2", n)
	}
}

// pageBefore looks at the page that names who gets access. Names of tenants and scopes are text, whatever is in them.
func pageBefore(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	page := look(t, tab, s.start(t, "acme", "ACME_TOKEN").AuthorizeURL)
	page.wantText(t, http.StatusOK, "Connect Acme?", "test", "sandbox sb_1", "ACME_TOKEN", "offline_access", "only if you expected this")
	page.fitForm(t, "ask")

	begun, err := s.tenant.StartOAuth(bounded(t), api.OAuthRequest{Provider: "acme", OAuthSecret: api.OAuthSecret{
		Scope: "openid <b>repo</b> &amp;", ResourceType: sandbox.Type, ResourceID: sandbox.ID, ExposeAsEnv: "ACME_TOKEN",
	}})
	if err != nil {
		t.Fatal(err)
	}
	page = look(t, tab, begun.AuthorizeURL)
	page.wantText(t, http.StatusOK, "Connect Acme?", "openid", "<b>repo</b>", "&amp;")
	page.fitForm(t, "")
	s.wantStatus(t, begun, api.FlowPending, "")

	// By keyboard, to the provider.
	do(t, tab, chromedp.Evaluate[chromedp.Void](`document.querySelector("main form button").focus()`), chromedp.KeyEvent("\r"),
		chromedp.WaitVisible(chromedp.CSS(`input[name=login]`)))
}

// pastPage sends a user straight to the provider, past the vault's page, as an attacker would whose secret the account is
// to be connected to.
func pastPage(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	begun := s.start(t, "acme", "ACME_TOKEN")
	link, err := vaulttest.Continue(vaulttest.Browser(), begun.AuthorizeURL) // the attacker's browser
	if err != nil {
		t.Fatal(err)
	}
	before := provider.Requests(t, "authorization_code")
	page := visit(t, tab, link.String(), authserver.SignIn("ada"), authserver.Allow())
	page.wantText(t, http.StatusForbidden, "Please open the link again", "nothing was connected")
	if n := provider.Requests(t, "authorization_code") - before; n != 0 {
		t.Errorf("the code was carried to the provider %d times", n)
	}
	s.wantStatus(t, begun, api.FlowPending, "")
	s.wantNothing(t)
	page.fit(t, "")

	page = visit(t, tab, begun.AuthorizeURL)
	page.wantText(t, http.StatusOK, "Acme is connected")
}

// denied cancels once at sign-in and once at consent.
func denied(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	var page landing
	for _, steps := range [][]step{
		{authserver.Deny()},
		{authserver.SignIn("bob"), chromedp.WaitReady(chromedp.CSS("[value=consent]")), authserver.Deny()},
	} {
		begun := s.start(t, "acme", "ACME_TOKEN")
		page = visit(t, tab, begun.AuthorizeURL, steps...)
		page.wantText(t, http.StatusOK, "Acme wasn’t connected", "declined", "nothing was stored")
		s.wantStatus(t, begun, api.FlowDenied, "access_denied")
	}
	s.wantNothing(t)
	if n := s.audited(t, "oauth.callback", "denied", "acme"); n != 2 {
		t.Errorf("%d events of refusals, want 2", n)
	}
	page.fit(t, "denied")
}

// expired returns too late.
func expired(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider, vaulttest.WithFlowTime(10*time.Second))
	begun := s.start(t, "acme", "ACME_TOKEN")
	before := provider.Requests(t, "authorization_code")
	do(t, tab, chromedp.Navigate(begun.AuthorizeURL), browser.Continue(), chromedp.WaitVisible(chromedp.CSS(`input[name=login]`)))
	poll.Until(t, 20*time.Second, "the flow has failed", func() bool { return s.status(t, begun).Status == api.FlowFailed })
	page := visit(t, tab, "", authserver.SignIn("cy"), authserver.Allow())
	page.wantText(t, http.StatusGone, "This link has expired", "connect again", "nothing was stored")
	s.wantStatus(t, begun, api.FlowFailed, "expired")
	s.wantNothing(t)
	if n := provider.Requests(t, "authorization_code") - before; n != 0 {
		t.Errorf("the provider was asked %d times for an expired flow", n)
	}
	page.fit(t, "expired")
}

// replayed opens a used callback link again, in the same browser and in another one.
func replayed(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	begun := s.start(t, "acme", "ACME_TOKEN")
	page := visit(t, tab, begun.AuthorizeURL, authserver.SignIn("dan"), authserver.Allow())
	page.wantText(t, http.StatusOK, "Acme is connected")
	token, _, _ := s.revealed(t, "ACME_TOKEN")

	before := provider.Requests(t, "authorization_code")
	again := visit(t, tab, page.url)
	again.wantText(t, http.StatusConflict, "This link was already used", "nothing was changed")
	other := visit(t, browser.Tab(t, tab, chromedp.WithNewBrowserContext()), page.url)
	other.wantText(t, http.StatusConflict, "This link was already used")
	if n := provider.Requests(t, "authorization_code") - before; n != 0 {
		t.Errorf("the provider was asked %d times more", n)
	}
	s.wantStatus(t, begun, api.FlowCompleted, "")
	if now, version, _ := s.revealed(t, "ACME_TOKEN"); now != token || version != 1 {
		t.Errorf("the token is another one, or has version %d", version)
	}
	again.fit(t, "", token)
}

// forged returns with states that the vault did not issue, or with modified ones.
func forged(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	begun := s.start(t, "acme", "ACME_TOKEN")
	last := "A"
	if strings.HasSuffix(begun.State, last) {
		last = "B"
	}
	forgery := begun.State[:len(begun.State)-1] + last
	unknown, incomplete := "This link isn’t known here", "This link isn’t complete"
	for _, test := range []struct {
		name, query string
		status      int64
		title       string
	}{
		{"another state", "code=abc&state=" + forgery, http.StatusNotFound, unknown},
		{"markup for a state", "code=abc&state=" + url.QueryEscape(`"><script>alert(1)</script>`), http.StatusNotFound, unknown},
		{"no state", "code=abc", http.StatusBadRequest, incomplete},
		{"two states", "code=abc&state=" + forgery + "&state=" + begun.State, http.StatusBadRequest, incomplete},
		{"nothing", "", http.StatusBadRequest, incomplete},
	} {
		t.Run(test.name, func(t *testing.T) {
			page := visit(t, tab, s.callback()+"?"+test.query)
			page.wantText(t, test.status, test.title, "connect")
			if test.name == "another state" {
				page.fit(t, "")
			}
		})
	}
	// A wrong guess ends no flow.
	s.wantStatus(t, begun, api.FlowPending, "")
	s.wantNothing(t)

	if _, err := s.tenant.OAuthStatus(bounded(t), forgery); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("the status of a forged state: %v", err)
	}
	stranger := s.client(t, s.vault.Tenant(t, "stranger"))
	if _, err := stranger.OAuthStatus(bounded(t), begun.State); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("the status of another tenant's flow: %v", err)
	}
}

// wrongIssuer returns with another issuer, and without one.
func wrongIssuer(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	before := provider.Requests(t, "authorization_code")
	var page landing
	steps := []step{authserver.SignIn("eve"), authserver.Allow()}
	for _, mode := range []authserver.Mode{authserver.WrongIss, authserver.NoIss} {
		provider.Break(t, mode, 1, "https://evil.example")
		begun := s.start(t, "acme", "ACME_TOKEN")
		page = visit(t, tab, begun.AuthorizeURL, steps...)
		steps = nil // the provider asks only once
		page.wantText(t, http.StatusBadRequest, "Acme couldn’t be connected", "didn’t come from Acme", "Nothing was stored")
		s.wantStatus(t, begun, api.FlowFailed, "wrong_issuer")
	}
	s.wantNothing(t)
	if n := provider.Requests(t, "authorization_code") - before; n != 0 {
		t.Errorf("the code was carried to the provider %d times", n)
	}
	page.fit(t, "")
}

// taken binds the variable to another secret while the user is at the provider.
func taken(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	begun := s.start(t, "acme", "ACME_TOKEN")
	s.vault.Put(t, "mine", "v", sandbox, "ACME_TOKEN")
	page := visit(t, tab, begun.AuthorizeURL, authserver.SignIn("ivy"), authserver.Allow())
	page.wantText(t, http.StatusConflict, "Acme couldn’t be connected", "belongs to another secret")
	s.wantStatus(t, begun, api.FlowFailed, "name_taken")
	secrets, err := s.tenant.Secrets(bounded(t), fetch.SecretFilter{})
	if err != nil || len(secrets) != 1 {
		t.Errorf("%d secrets, %v; want the one that was there", len(secrets), err)
	}
	if value, _, _ := s.revealed(t, "ACME_TOKEN"); value != "v" {
		t.Error("the variable has another value")
	}
}

// byWayOfApp ends a flow at an app, which passes the query to the vault many times at once, like a button that is
// pressed repeatedly. One request connects, and the provider gets one token request.
func byWayOfApp(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixtureWith(t, provider, "any_browser = true") // the app's server has no cookies
	begun, err := s.tenant.StartOAuth(bounded(t), api.OAuthRequest{Provider: "acme", RedirectURI: s.app.uri, OAuthSecret: api.OAuthSecret{
		ResourceType: sandbox.Type, ResourceID: sandbox.ID, ExposeAsEnv: "ACME_TOKEN",
	}})
	if err != nil {
		t.Fatal(err)
	}
	do(t, tab, chromedp.Navigate(begun.AuthorizeURL), browser.Continue(), authserver.SignIn("joe"), authserver.Allow(), chromedp.WaitVisible(chromedp.CSS("#back")))
	query := <-s.app.brought

	before := provider.Requests(t, "authorization_code")
	ctx := bounded(t)
	const times = 8
	statuses := make(chan int, times)
	for range times {
		go func() {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.callback()+"?"+query, nil)
			if err != nil {
				panic(err)
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				statuses <- 0
				return
			}
			_ = answer.Body.Close()
			statuses <- answer.StatusCode
		}()
	}
	count := map[int]int{}
	for range times {
		count[<-statuses]++
	}
	if diff := cmp.Diff(map[int]int{http.StatusOK: 1, http.StatusConflict: times - 1}, count); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if n := provider.Requests(t, "authorization_code") - before; n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	s.wantStatus(t, begun, api.FlowCompleted, "")
	token, version, _ := s.revealed(t, "ACME_TOKEN")
	s.worksFor(t, "ACME_TOKEN", token, "joe")
	if version != 1 {
		t.Errorf("the token has version %d", version)
	}
}

// failedExchange makes the provider accept the code and answer with an error, or not at all.
func failedExchange(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	steps := []step{authserver.SignIn("fay"), authserver.Allow()}
	for _, test := range []struct {
		mode  authserver.Mode
		word  string
		title string
	}{
		{authserver.FailAfter, "status_500", "Acme couldn’t be connected"},
		{authserver.DropAfter, "no_answer", "Acme didn’t answer"},
	} {
		before := provider.Requests(t, "authorization_code")
		provider.Break(t, test.mode, 1, "")
		begun := s.start(t, "acme", "ACME_TOKEN")
		page := visit(t, tab, begun.AuthorizeURL, steps...)
		steps = nil
		page.wantText(t, http.StatusBadGateway, test.title, "nothing was stored")
		s.wantStatus(t, begun, api.FlowFailed, test.word)
		if n := provider.Requests(t, "authorization_code") - before; n != 1 {
			t.Errorf("%s: the provider was asked %d times with one code", test.mode, n)
		}
	}
	s.wantNothing(t)
}

// vaultAway stops the vault while the user is at the provider. The user returns to an unreachable server and
// reloads.
func vaultAway(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	begun := s.start(t, "acme", "ACME_TOKEN")
	do(t, tab, chromedp.Navigate(begun.AuthorizeURL), browser.Continue(), chromedp.WaitVisible(chromedp.CSS(`input[name=login]`)))
	s.vault.Stop(t)
	do(t, tab, authserver.SignIn("gus"), authserver.Allow())
	link := ""
	poll.Until(t, 20*time.Second, "the browser was sent back", func() bool {
		history, err := chromedp.Run(tab, chromedp.NavigationEntries())
		if err != nil {
			return false // between two pages
		}
		link = history.Entries[history.CurrentIndex].URL
		return strings.HasPrefix(link, s.callback())
	})
	s.vault.Restart(t)
	page := visit(t, tab, link)
	page.wantText(t, http.StatusOK, "Acme is connected")
	s.wantStatus(t, begun, api.FlowCompleted, "")
	token, _, _ := s.revealed(t, "ACME_TOKEN")
	s.worksFor(t, "ACME_TOKEN", token, "gus")
}

// providerGone ends the provider after it has redirected the browser and before the token request.
func providerGone(t *testing.T, tab context.Context, provider *authserver.Server) {
	s := newFixture(t, provider)
	provider.Break(t, authserver.Leave, 1, "")
	begun := s.start(t, "acme", "ACME_TOKEN")
	page := visit(t, tab, begun.AuthorizeURL, authserver.SignIn("hal"), authserver.Allow())
	page.wantText(t, http.StatusBadGateway, "Acme didn’t answer", "Try again in a few minutes", "nothing was stored")
	s.wantStatus(t, begun, api.FlowFailed, "unreachable")
	s.wantNothing(t)
	page.fit(t, "gone")

	// A later attempt succeeds.
	provider.Restart(t)
	begun = s.start(t, "acme", "ACME_TOKEN")
	page = visit(t, tab, begun.AuthorizeURL)
	page.wantText(t, http.StatusOK, "Acme is connected")
}

// A variable that is bound to another secret is refused before a user is sent to the provider.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	s := newFixture(t, authserver.Start(t, authserver.Config{}))
	s.vault.Put(t, "mine", "v", sandbox, "TAKEN")
	for _, test := range []struct {
		name string
		ask  api.OAuthRequest
		want error
	}{
		{"a taken variable", api.OAuthRequest{Provider: "acme", OAuthSecret: api.OAuthSecret{
			ResourceType: sandbox.Type, ResourceID: sandbox.ID, ExposeAsEnv: "TAKEN",
		}}, api.ErrConflict},
		{"no such provider", api.OAuthRequest{Provider: "nobody"}, api.ErrInvalid},
		{"another redirect", api.OAuthRequest{Provider: "acme", RedirectURI: "https://evil.example/back"}, api.ErrInvalid},
		{"a redirect that only begins right", api.OAuthRequest{Provider: "acme", RedirectURI: s.callback() + "/"}, api.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := s.tenant.StartOAuth(bounded(t), test.ask); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if _, err := s.resource.StartOAuth(bounded(t), api.OAuthRequest{Provider: "acme"}); !errors.Is(err, api.ErrDenied) {
		t.Errorf("with a resource key: %v", err)
	}
}
