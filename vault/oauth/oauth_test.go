package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

// load parses a configuration whose client secret is in the adjacent file "secret".
func load(t *testing.T, text string) *Providers {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s3cr+t/of the client\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ps, err := parse([]byte(text), dir, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func TestLoad(t *testing.T) {
	ps := load(t, "\ufeff"+`
public_url = " HTTPS://vault.example/ "
redirect_uris = ["https://app.example/done"]
[[provider]]
preset = "GitHub"
client_id = "id"
client_secret_file = "secret"
scopes = [" repo", "read:org "]
[[provider]]
name = "acme"
display_name = "Acme"
issuer = "https://id.acme.example"
client_id = "id"
client_auth = "None"
`)
	want := []api.Provider{
		{Name: "github", DisplayName: "GitHub", Scopes: []string{"repo", "read:org"}},
		{Name: "acme", DisplayName: "Acme", Scopes: []string{}},
	}
	if diff := cmp.Diff(want, ps.List()); diff != "" {
		t.Errorf("providers (-want +got)\n%s", diff)
	}
	if ps.PublicURL != "https://vault.example" {
		t.Errorf("public URL %q", ps.PublicURL)
	}
	callback := ps.PublicURL + CallbackPath
	for uri, allowed := range map[string]bool{
		callback: true, "https://app.example/done": true,
		callback + "/": false, callback + "?x=1": false, "https://app.example/done/": false, "https://app.example/Done": false,
		"https://app.example/done#": false, "https://app.example.evil/done": false, "": false,
	} {
		if ps.Allows(uri, callback) != allowed {
			t.Errorf("redirect URI %q: allowed is %v", uri, !allowed)
		}
	}
	var none *Providers
	if none.List() == nil || none.Named("github") != nil || none.Allows("https://x.example", callback) {
		t.Error("an empty configuration has providers")
	}
}

// Every problem is reported at once, by line or provider and field. No error repeats a line, because it may
// contain a secret.
func TestLoadTellsEveryProblem(t *testing.T) {
	const canary = "c4nary-s3cret"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"not TOML", "client_secret = " + canary, []string{"line 1: not TOML"}},
		{"unknown field", "public_ul = \"x\"", []string{`line 1: unknown field "public_ul": did you mean public_url?`}},
		{"wrong type", "redirect_uris = \"" + canary + "\"", []string{"line 1", "redirect_uris"}},
		{"secret in the file", "[[provider]]\npreset='github'\nclient_id='a'\nclient_secret='" + canary + "'",
			[]string{"provider github: client_secret doesn't belong in this file", "client_secret_file"}},
		{"nothing given", "[[provider]]", []string{"provider number 1: name:", "client_id is required", "say where it is", "client_secret_file or client_secret_credential is required"}},
		{"unknown preset", "[[provider]]\nname='a'\npreset='gitbuh'\nclient_id='a'\nclient_auth='none'", []string{"preset: there is none of this name", "github, gitlab"}},
		{"name twice", "[[provider]]\npreset='x'\nclient_id='a'\nclient_auth='none'\n[[provider]]\npreset='x'\nclient_id='a'\nclient_auth='none'", []string{"provider x: the name is taken"}},
		{"http", "public_url='http://vault.example'\n[[provider]]\nname='a'\nissuer='http://id.example'\nclient_id='a'\nclient_auth='none'",
			[]string{"public_url: must begin with https://", "issuer: must begin with https://"}},
		{"half of it", "[[provider]]\nname='a'\ntoken_url='https://a.example'\nclient_id='a'\nclient_auth='none'", []string{"authorize_url and token_url go together"}},
		{"user in a URL", "[[provider]]\nname='a'\nissuer='https://u:" + canary + "@id.example'\nclient_id='a'\nclient_auth='none'", []string{"issuer: must hold no user name"}},
		{"query", "redirect_uris=['https://a.example/?x=1']", []string{"redirect_uris, entry 1: must have no query"}},
		{"fragment", "redirect_uris=['https://a.example/#']", []string{"redirect_uris, entry 1: must have no fragment"}},
		{"client_auth", "[[provider]]\npreset='x'\nclient_id='a'\nclient_auth='header'", []string{"client_auth: want basic, post or none"}},
		{"two secrets", "[[provider]]\npreset='x'\nclient_id='a'\nclient_secret_file='a'\nclient_secret_credential='b'", []string{"exclude each other"}},
		{"no credentials", "[[provider]]\npreset='x'\nclient_id='a'\nclient_secret_credential='b'", []string{"LoadCredential="}},
		{"no such file", "[[provider]]\npreset='x'\nclient_id='a'\nclient_secret_file='nowhere'", []string{"nowhere: no such file"}},
		{"scopes in one", "[[provider]]\npreset='x'\nclient_id='a'\nclient_auth='none'\nscopes=['a b']", []string{"scopes: each entry is one scope"}},
		{"our parameter", "[[provider]]\npreset='x'\nclient_id='a'\nclient_auth='none'\nauthorize_params={state='x'}", []string{"authorize_params: state is set by the vault"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse([]byte(test.text), t.TempDir(), func(string) string { return "" })
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q isn't in:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), canary) {
				t.Error("the error repeats a line")
			}
		})
	}
}

func TestClientSecretIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "cred")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	ps, err := parse([]byte("[[provider]]\npreset='x'\nclient_id='a'\nclient_secret_credential='cred'"), "/",
		func(string) string { return dir })
	if err != nil {
		t.Fatal(err)
	}
	write("two")
	if got, err := ps.Named("x").secret(); got != "two" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, text := range []string{"", "\n", "a\nb", "a\x00b", strings.Repeat("a", 5000)} {
		write(text)
		if _, err := ps.Named("x").secret(); err == nil {
			t.Errorf("%d bytes are taken", len(text))
		}
	}
}

func TestPresetsAreComplete(t *testing.T) {
	for _, name := range []string{"github", "slack", "google", "gitlab", "microsoft", "bitbucket", "linear", "notion"} {
		if _, ok := presets[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for name, p := range presets {
		if !providerName.MatchString(name) || p.display == "" {
			t.Errorf("%s: bad name or display name", name)
		}
		for _, u := range []string{p.at.AuthURL, p.at.TokenURL} {
			if err := checkURL(u); err != nil || !strings.HasPrefix(u, "https://") {
				t.Errorf("%s: %s: %v", name, u, err)
			}
		}
		for param := range p.params {
			if reservedParams[param] {
				t.Errorf("%s sets %s", name, param)
			}
		}
	}
}

func TestAuthorizeURL(t *testing.T) {
	ps := load(t, `
[[provider]]
preset = "linear"
client_id = "id&1"
client_secret_file = "secret"
scopes = ["read", "write"]
authorize_params = { actor = "app" }
[[provider]]
preset = "google"
client_id = "id"
client_secret_file = "secret"
authorize_params = { prompt = "select_account" }
`)
	query := func(name string) url.Values {
		t.Helper()
		link, err := ps.Named(name).AuthorizeURL(t.Context(), "st+te", "verifier-verifier-verifier-verifier-verifier", "https://v.example/cb")
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query()
	}
	want := url.Values{
		"response_type": {"code"}, "client_id": {"id&1"}, "redirect_uri": {"https://v.example/cb"}, "state": {"st+te"},
		"scope": {"read,write"}, "actor": {"app"}, "code_challenge_method": {"S256"},
		"code_challenge": {"ceLxuvkf8o51Izc4bbUAS3OE1uXKv-yOlUYF1p8LMoI"},
	}
	got := query("linear")
	got.Set("code_challenge", want.Get("code_challenge")) // its form is checked against a server below
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("linear (-want +got)\n%s", diff)
	}
	if got := query("google"); got.Get("access_type") != "offline" || got.Get("prompt") != "select_account" || got.Has("scope") {
		t.Errorf("google: %v", got)
	}
}

// server is a token endpoint with scripted answers, and its configuration under the name "acme".
type server struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)

	mu   sync.Mutex      // guards seen: a dropped connection does not wait for its handler
	seen []*http.Request // with their form or JSON body parsed into Form
}

// asked returns the requests so far.
func (s *server) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			var fields map[string]string
			_ = json.NewDecoder(r.Body).Decode(&fields)
			r.Form = url.Values{}
			for k, v := range fields {
				r.Form.Set(k, v)
			}
		} else {
			_ = r.ParseForm()
		}
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		s.answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) provider(t *testing.T, more string) *Provider {
	t.Helper()
	return load(t, "[[provider]]\nname='acme'\nclient_id='the id'\nclient_secret_file='secret'\nauthorize_url='"+s.URL+"/a'\ntoken_url='"+s.URL+"/t'\n"+more).Named("acme")
}

func answering(kind, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(text))
	}
}

// Both ways of client authentication, and each shape of token response that providers use.
func TestExchange(t *testing.T) {
	const standard = `{"access_token":"at","token_type":"bearer","refresh_token":"rt","expires_in":3600,"scope":"a b"}`
	for _, test := range []struct {
		name, more   string
		preset       preset
		kind, answer string
		basic, json  bool
		want         string // access token, refresh token, lifetime in seconds, scopes
	}{
		{"basic", "", preset{}, "application/json", standard, true, false, "at rt 3600 [a b]"},
		{"post", "client_auth='post'", preset{}, "application/json;charset=utf-8", standard, false, false, "at rt 3600 [a b]"},
		{"no refresh token, no end", "scopes=['x']", preset{}, "application/json", `{"access_token":"at","token_type":"bearer"}`, true, false, "at  0 [x]"},
		{"life as text", "", preset{}, "application/json", `{"access_token":"at","expires_in":"60"}`, true, false, "at  60 []"},
		{"GitHub's form", "client_auth='post'", presets["github"], "application/x-www-form-urlencoded; charset=utf-8",
			"access_token=at&expires_in=28800&refresh_token=rt&scope=repo%2Cgist&token_type=bearer", false, false, "at rt 28800 [repo gist]"},
		{"Slack's bot", "", presets["slack"], "application/json; charset=utf-8",
			`{"ok":true,"access_token":"bot","token_type":"bot","scope":"a,b","refresh_token":"rt","expires_in":43200,"authed_user":{"id":"U","access_token":"user"}}`, true, false, "bot rt 43200 [a b]"},
		{"Slack's user", "", presets["slack"], "application/json; charset=utf-8",
			`{"ok":true,"app_id":"A","authed_user":{"id":"U","scope":"x","access_token":"user","token_type":"user","refresh_token":"rt","expires_in":10}}`, true, false, "user rt 10 [x]"},
		{"Notion's JSON", "", presets["notion"], "application/json", `{"access_token":"at","token_type":"bearer","workspace_id":"w"}`, true, true, "at  0 []"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t)
			s.answer = answering(test.kind, test.answer)
			p := s.provider(t, test.more)
			p.preset = test.preset
			began := time.Now()
			got, err := p.Exchange(t.Context(), "the code", "the verifier", "https://v.example/cb")
			if err != nil {
				t.Fatal(err)
			}
			life := 0
			if got.ExpiresAt != nil {
				life = int(got.ExpiresAt.Sub(began.Add(-time.Second)).Seconds())
			}
			if text := fmt.Sprintf("%s %s %d %v", got.Access.Reveal(), got.Refresh.Reveal(), life, got.Scopes); text != test.want {
				t.Errorf("got %s, want %s", text, test.want)
			}
			r := s.asked()[0]
			id, secret, basic := r.BasicAuth()
			if !basic {
				id, secret = r.Form.Get("client_id"), r.Form.Get("client_secret")
			} else {
				id, _ = url.QueryUnescape(id)
				secret, _ = url.QueryUnescape(secret)
			}
			if basic != test.basic || id != "the id" || secret != "s3cr+t/of the client" || basic && r.Form.Has("client_secret") {
				t.Errorf("client shown as %q, basic %v", id, basic)
			}
			if r.Form.Get("code") != "the code" || r.Form.Get("code_verifier") != "the verifier" ||
				r.Form.Get("redirect_uri") != "https://v.example/cb" || r.Form.Get("grant_type") != "authorization_code" {
				t.Errorf("form: %v", r.Form)
			}
			if isJSON := r.Header.Get("Content-Type") == "application/json"; isJSON != test.json {
				t.Errorf("JSON is %v", isJSON)
			}
		})
	}
}

func TestRefreshKeepsTheOldToken(t *testing.T) {
	s := serve(t)
	p := s.provider(t, "")
	s.answer = answering("application/json", `{"access_token":"two","expires_in":60}`)
	got, err := p.Refresh(t.Context(), api.NewValue([]byte("rt")))
	if err != nil || got.Access.Reveal() != "two" || got.Refresh.Reveal() != "rt" {
		t.Errorf("without a new one: %v", err)
	}
	if f := s.asked()[0].Form; f.Get("grant_type") != "refresh_token" || f.Get("refresh_token") != "rt" {
		t.Errorf("form: %v", f)
	}
	s.answer = answering("application/json", `{"access_token":"two","refresh_token":"rt2"}`)
	if got, err = p.Refresh(t.Context(), api.NewValue([]byte("rt"))); err != nil || got.Refresh.Reveal() != "rt2" {
		t.Errorf("with a new one: %v", err)
	}
}

// Errors classify a failed token request and repeat nothing that was sent or received.
func TestErrors(t *testing.T) {
	status := func(code int, kind, body string, header ...string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	const js = "application/json"
	for _, test := range []struct {
		name    string
		answer  func(http.ResponseWriter, *http.Request)
		outcome Outcome
		code    string
		grant   bool
		after   time.Duration
	}{
		{"refused", status(400, js, `{"error":"invalid_grant","error_description":"c4nary"}`), Refused, "invalid_grant", true, 0},
		{"client refused", status(401, js, `{"error":"invalid_client"}`), Refused, "invalid_client", false, 0},
		{"GitHub's 200", status(200, "application/x-www-form-urlencoded", "error=bad_refresh_token&error_description=c4nary"), Refused, "bad_refresh_token", true, 0},
		{"Slack's 200", status(200, js, `{"ok":false,"error":"invalid_refresh_token"}`), Refused, "invalid_refresh_token", true, 0},
		{"401 without words", status(401, "text/html", "c4nary"), Refused, "status_401", true, 0},
		{"404", status(404, "text/html", "c4nary"), Unclear, "status_404", true, 0},
		{"a redirect", status(302, "text/html", "", "Location", "http://127.0.0.1:1/"), Unclear, "status_302", true, 0},
		{"500", status(500, js, `{"error":"server_error"}`), Unclear, "server_error", true, 0},
		{"503", status(503, js, "{}", "Retry-After", "7"), Unsent, "status_503", true, 7 * time.Second},
		{"429", status(429, js, `{"error":"slow_down"}`, "Retry-After", "99999"), Unsent, "slow_down", true, time.Hour},
		{"busy", status(400, js, `{"error":"temporarily_unavailable"}`), Unsent, "temporarily_unavailable", true, 0},
		{"no token", status(200, js, `{"token":"c4nary"}`), Unclear, "no_answer", true, 0},
		{"a NUL in a token", status(200, js, `{"access_token":"c4nary\u0000","expires_in":60}`), Unclear, "no_answer", true, 0},
		{"not JSON", status(200, js, "c4nary"), Unclear, "no_answer", true, 0},
		{"too long", status(200, js, `{"access_token":"`+strings.Repeat("a", maxBody)+`"}`), Unclear, "no_answer", true, 0},
		{"an odd code", status(400, js, `{"error":"<script>c4nary</script>"}`), Refused, "unreadable_error", true, 0},
		{"dropped", func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_ = c.Close()
		}, Unclear, "no_answer", true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t)
			s.answer = test.answer
			_, err := s.provider(t, "").Refresh(t.Context(), api.NewValue([]byte("c4nary")))
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if e.Outcome != test.outcome || e.Code != test.code || e.GrantRefused() != test.grant || e.RetryAfter != test.after {
				t.Errorf("got outcome %d, code %s, grant %v, after %s", e.Outcome, e.Code, e.GrantRefused(), e.RetryAfter)
			}
			if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "c4nary") || strings.Contains(text, "s3cr") {
				t.Errorf("the error repeats what was sent or received: %s", text)
			}
			if len(s.asked()) != 1 {
				t.Errorf("asked %d times", len(s.asked()))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: &httptest.Server{URL: "http://" + l.Addr().String()}}
	_ = l.Close()
	_, err = s.provider(t, "").Exchange(t.Context(), "c", "v", "r")
	if e, ok := errors.AsType[*Error](err); !ok || e.Outcome != Unsent || e.Code != "unreachable" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	hang := serve(t)
	hang.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	_, err = hang.provider(t, "").Exchange(ctx, "c", "v", "r")
	if e, ok := errors.AsType[*Error](err); !ok || e.Outcome != Unclear {
		t.Errorf("got %v", err)
	}
}

// Concurrent callers share one discovery request, and a caller whose context ends does not wait for it.
func TestDiscoveryIsShared(t *testing.T) {
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		answering("application/json", `{"issuer":"`+s.URL+`","authorization_endpoint":"`+s.URL+`/a","token_endpoint":"`+s.URL+`/t","jwks_uri":"`+s.URL+`/k"}`)(w, nil)
	}))
	defer s.Close()
	p := load(t, "[[provider]]\nname='acme'\nissuer='"+s.URL+"'\nclient_id='id'\nclient_secret_file='secret'").Named("acme")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 10)
	first := make(chan error, 1)
	go func() { _, err := p.AuthorizeURL(ctx, "s", "v", "r"); first <- err }()
	<-asked
	for range cap(done) {
		go func() { _, err := p.AuthorizeURL(t.Context(), "s", "v", "r"); done <- err }()
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller got %v", err)
	}
	close(answer)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("asked %d times, want 1", 1+len(asked))
	}
}

// Discovery happens on first use, is repeated after a failure, and accepts only valid URLs.
func TestDiscovery(t *testing.T) {
	var metadata string
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if metadata == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answering("application/json", metadata)(w, nil)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	p := load(t, "[[provider]]\nname='acme'\nissuer='"+s.URL+"'\nclient_id='id'\nclient_secret_file='secret'").Named("acme")
	if asked != 0 {
		t.Error("asked before it was needed")
	}
	fails := func(what string) {
		t.Helper()
		_, err := p.AuthorizeURL(t.Context(), "s", "v", "r")
		if e, ok := errors.AsType[*Error](err); !ok || e.Outcome != Unsent || e.Code != "discovery_failed" {
			t.Errorf("%s: got %v", what, err)
		}
	}
	of := func(issuer, authorize, more string) string {
		return `{"issuer":"` + issuer + `","authorization_endpoint":"` + authorize + `","token_endpoint":"` + s.URL + `/t","jwks_uri":"` + s.URL + `/k"` + more + `}`
	}
	fails("down")
	metadata = of("https://other.example", s.URL+"/a", "")
	fails("another issuer")
	metadata = of(s.URL, "http://id.example/a", "")
	fails("plain http")
	metadata = of(s.URL, s.URL+"/a", `,"token_endpoint_auth_methods_supported":["private_key_jwt","client_secret_post"],"authorization_response_iss_parameter_supported":true`)
	for range 3 {
		if link, err := p.AuthorizeURL(t.Context(), "s", "v", "r"); err != nil || !strings.HasPrefix(link, s.URL+"/a?") {
			t.Errorf("got %s, %v", link, err)
		}
	}
	if found := p.discovered.Load(); asked != 4 || found.AuthStyle != authStyles[authPost] || !found.sendsIssuer {
		t.Errorf("asked %d times, found %+v", asked, found)
	}
}

func TestCheckIssuer(t *testing.T) {
	const issuer = "https://id.acme.example"
	for _, test := range []struct {
		name     string
		known    string
		promised bool
		iss      []string
		ok       bool
	}{
		{"right", issuer, true, []string{issuer}, true},
		{"right, not promised", issuer, false, []string{issuer}, true},
		{"absent, not promised", issuer, false, nil, true},
		{"absent, nothing known", "", false, nil, true},
		{"absent, promised", issuer, true, nil, false},
		{"wrong", issuer, false, []string{"https://evil.example"}, false},
		{"almost", issuer, false, []string{issuer + "/"}, false},
		{"empty", issuer, false, []string{""}, false},
		{"twice", issuer, false, []string{issuer, issuer}, false},
		{"present, nothing known", "", false, []string{issuer}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &Provider{issuer: test.known, fixed: &endpoint{sendsIssuer: test.promised}}
			q := url.Values{}
			if test.iss != nil {
				q["iss"] = test.iss
			}
			err := p.CheckIssuer(t.Context(), q)
			if (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
			if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Code != codeWrongIssuer || e.Outcome != Refused) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMint(t *testing.T) {
	t.Parallel() // a refusal takes seconds
	s := serve(t)
	s.answer = answering("application/json", `{"access_token":"at","expires_in":60}`)
	client := func(path string) json.RawMessage {
		return encode(map[string]machine{"oauth": {TokenURL: s.URL + path, ClientID: "id", Scopes: []string{"a", "b"}}})
	}
	var none *Providers
	_, err := none.Mint(t.Context(), client("/t"), api.NewValue([]byte("s")))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Outcome != Unsent || !errors.Is(e, errNotPublic) || len(s.asked()) != 0 {
		t.Fatalf("loopback, named by a tenant: got %v, asked %d times", err, len(s.asked()))
	}
	ps := load(t, "[machine]\ntoken_urls=['"+s.URL+"/t']")
	got, err := ps.Mint(t.Context(), client("/t"), api.NewValue([]byte("s")))
	if err != nil || got.Access.Reveal() != "at" || got.ExpiresAt == nil {
		t.Fatalf("allowed: %v", err)
	}
	if r := s.asked()[0]; r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") != "a b" {
		t.Errorf("form: %v", r.Form)
	}
	if _, err := ps.Mint(t.Context(), client("/t2"), api.NewValue([]byte("s"))); err == nil {
		t.Error("another URL on the same host was requested")
	}
}
