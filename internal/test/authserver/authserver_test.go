package authserver_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// callback serves a client's redirect URI and returns the queries with which browsers arrive.
func callback(t *testing.T) (uri string, brought <-chan url.Values) {
	t.Helper()
	all := make(chan url.Values, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			all <- r.URL.Query()
		}
		_, _ = w.Write([]byte("<!doctype html><title>back</title><p id=back>back"))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/callback", all
}

func config(s *authserver.Server, c authserver.Client, style oauth2.AuthStyle, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: c.ID, ClientSecret: c.Secret, RedirectURL: redirect, Scopes: []string{"openid", "repo"},
		Endpoint: oauth2.Endpoint{AuthURL: s.Issuer + "/auth", TokenURL: s.Issuer + "/token", AuthStyle: style},
	}
}

// visit performs steps on the server's pages in a browser and returns the query with which it is sent back.
func visit(t *testing.T, ctx context.Context, address string, brought <-chan url.Values, steps ...chromedp.Action[chromedp.Void]) url.Values {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	steps = append([]chromedp.Action[chromedp.Void]{chromedp.Navigate(address)}, steps...)
	steps = append(steps, chromedp.WaitVisible(chromedp.CSS("#back")))
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
	return <-brought
}

// bounded returns a context with a timeout for requests to the server.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCodeFlow(t *testing.T) {
	uri, brought := callback(t)
	s := authserver.Start(t, authserver.Config{TokenLife: 2 * time.Second})
	s.AllowRedirect(t, uri)
	tab := browser.Start(t)
	steps := []chromedp.Action[chromedp.Void]{authserver.SignIn("ada"), authserver.Allow()}
	var old *oauth2.Token
	for _, test := range []struct {
		name   string
		client authserver.Client
		style  oauth2.AuthStyle
	}{
		{"basic", s.Basic, oauth2.AuthStyleInHeader},
		{"post", s.Post, oauth2.AuthStyleInParams},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, c, verifier := bounded(t), config(s, test.client, test.style, uri), oauth2.GenerateVerifier()
			got := visit(t, tab, c.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), brought, steps...)
			steps = steps[1:] // a signed-in user is asked for consent only
			if got.Get("state") != "st" || got.Get("iss") != s.Issuer || got.Get("code") == "" {
				t.Fatalf("sent back with state %q, iss %q, code: %v", got.Get("state"), got.Get("iss"), got.Get("code") != "")
			}
			token, err := c.Exchange(ctx, got.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			if token.RefreshToken == "" || time.Until(token.Expiry) > 2*time.Second {
				t.Errorf("refresh token: %v; good for %v", token.RefreshToken != "", time.Until(token.Expiry))
			}
			if status, who := s.UserInfo(t, token.AccessToken); status != 200 || who != "ada" {
				t.Errorf("userinfo: status %d for %q", status, who)
			}
			old = token
		})
	}

	// After a restart, tokens are valid until they expire, and refreshing works.
	if old == nil {
		t.FailNow()
	}
	issuer := s.Issuer
	s.Restart(t)
	if s.Issuer != issuer {
		t.Errorf("issuer was %s, is %s", issuer, s.Issuer)
	}
	poll.Until(t, 10*time.Second, "the token expires", func() bool { status, _ := s.UserInfo(t, old.AccessToken); return status == 401 })
	c := config(s, s.Post, oauth2.AuthStyleInParams, uri)
	again, err := c.TokenSource(bounded(t), &oauth2.Token{RefreshToken: old.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	if again.RefreshToken == old.RefreshToken || again.AccessToken == old.AccessToken {
		t.Error("the tokens are the same after a refresh")
	}
	if n := s.Requests(t, "refresh_token"); n != 1 {
		t.Errorf("%d refreshes since the restart, want 1", n)
	}

	// Reusing a refresh token revokes the whole grant.
	for _, token := range []string{old.RefreshToken, again.RefreshToken} {
		_, err := c.TokenSource(bounded(t), &oauth2.Token{RefreshToken: token}).Token()
		if code := oauthError(err); code != "invalid_grant" {
			t.Errorf("a refresh token used twice: %q", code)
		}
	}
}

// oauthError returns the error code of the server, or "".
func oauthError(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return refused.ErrorCode
	}
	return ""
}

func TestRefusals(t *testing.T) {
	uri, brought := callback(t)
	s := authserver.Start(t, authserver.Config{RedirectURIs: []string{uri}, KeepRefresh: true})
	first := browser.Start(t)
	c := config(s, s.Basic, oauth2.AuthStyleInHeader, uri)
	verifier := oauth2.GenerateVerifier()
	address := c.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier))
	signIn, allow, deny := authserver.SignIn("ada"), authserver.Allow(), authserver.Deny()

	for _, test := range []struct {
		name    string
		address string
		mode    authserver.Mode
		value   string
		steps   []chromedp.Action[chromedp.Void]
		want    map[string]string // query parameters that the browser returns with; "*": any value
	}{
		{name: "denied at sign-in", address: address, steps: []chromedp.Action[chromedp.Void]{deny},
			want: map[string]string{"error": "access_denied", "state": "st", "iss": s.Issuer, "code": ""}},
		{name: "denied at consent", address: address, steps: []chromedp.Action[chromedp.Void]{signIn, chromedp.WaitReady(chromedp.CSS("[value=consent]")), deny},
			want: map[string]string{"error": "access_denied", "state": "st", "code": ""}},
		{name: "no PKCE", address: c.AuthCodeURL("st"),
			want: map[string]string{"error": "invalid_request", "code": ""}},
		{name: "another issuer", address: address, mode: authserver.WrongIss, value: "https://evil.example",
			steps: []chromedp.Action[chromedp.Void]{signIn, allow}, want: map[string]string{"iss": "https://evil.example", "code": "*"}},
		{name: "no issuer", address: address, mode: authserver.NoIss,
			steps: []chromedp.Action[chromedp.Void]{signIn, allow}, want: map[string]string{"iss": "", "code": "*"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.mode != "" {
				s.Break(t, test.mode, 1, test.value)
			}
			tab := browser.Tab(t, first, chromedp.WithNewBrowserContext())
			got := visit(t, tab, test.address, brought, test.steps...)
			for key, want := range test.want {
				if value := got.Get(key); value != want && (want != "*" || value == "") {
					t.Errorf("%s is %q, want %q", key, value, want)
				}
			}
		})
	}
}

func TestBreak(t *testing.T) {
	s := authserver.Start(t, authserver.Config{TokenLife: 5 * time.Second})
	machine := clientcredentials.Config{
		ClientID: s.Machine.ID, ClientSecret: s.Machine.Secret, TokenURL: s.Issuer + "/token",
		Scopes: []string{"repo"}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	status := func() int {
		_, err := machine.Token(bounded(t))
		var refused *oauth2.RetrieveError
		switch {
		case err == nil:
			return 200
		case errors.As(err, &refused):
			return refused.Response.StatusCode
		}
		return 0 // no response
	}
	var got []int
	s.Break(t, authserver.FailAfter, 2, "")
	got = append(got, status(), status(), status())
	s.Break(t, authserver.DropAfter, 1, "")
	got = append(got, status(), status())
	s.Break(t, authserver.Refuse, 1, "")
	got = append(got, status(), status())
	if diff := cmp.Diff([]int{500, 500, 200, 0, 200, 503, 200}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if n, refused := s.Requests(t, "client_credentials"), s.Requests(t, "refused"); n != 6 || refused != 1 {
		t.Errorf("%d requests and %d refused, want 6 and 1", n, refused)
	}

	s.Break(t, authserver.Delay, 1, "300")
	began := time.Now()
	token, err := machine.Token(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("a delayed answer came after %v", took)
	}
	if !s.Active(t, s.Machine, token.AccessToken) {
		t.Error("the token isn't active")
	}

	s.Stop(t)
	if got := status(); got != 0 {
		t.Errorf("status %d from a server that is stopped", got)
	}
}
