package fetch_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/google/go-cmp/cmp"
)

// serveBody starts a server that answers every request with body.
func serveBody(t *testing.T, body string) *script {
	t.Helper()
	return serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
}

func TestEnvelopesOfProviders(t *testing.T) {
	const items = `[{"name":"github","display_name":"GitHub","scopes":["repo"]},{"name":"slack"}]`
	want := []api.Provider{{Name: "github", DisplayName: "GitHub", Scopes: []string{"repo"}}, {Name: "slack", Scopes: []string{}}}
	for _, tt := range []struct {
		name, body string
		want       []api.Provider
		refused    bool
	}{
		{"providers", `{"providers":` + items + `}`, want, false},
		{"bare", items, want, false},
		{"data", `{"data":` + items + `}`, want, false},
		{"items", `{"items":` + items + `}`, want, false},
		{"providers in data", `{"data":{"providers":` + items + `}}`, want, false},
		{"none", `{"providers":[]}`, []api.Provider{}, false},
		{"null", `{"providers":null}`, nil, false},
		{"another noun", `{"secrets":[]}`, nil, true},
		{"broken", `{"providers":[`, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, serveBody(t, tt.body).URL).Providers(t.Context())
			if problem, ok := errors.AsType[*fetch.Problem](err); (ok && problem.Reason == fetch.BadAnswer) != tt.refused {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("providers (-got +want):\n%s", diff)
			}
		})
	}
}

func TestEnvelopesOfAFlow(t *testing.T) {
	const flow = `{"authorize_url":"https://p.example/a?state=st_1","state":"st_1","provider":"github","expires_at":"2030-01-02T03:04:05Z"}`
	full := api.OAuthStart{AuthorizeURL: "https://p.example/a?state=st_1", State: "st_1", Provider: "github",
		ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	short := api.OAuthStart{AuthorizeURL: "https://p.example/a", State: "st_1", Provider: "github"} // the requested provider
	var refused api.OAuthStart
	for _, tt := range []struct {
		name, body string
		want       api.OAuthStart
	}{
		{"top level", flow, full},
		{"data", `{"data":` + flow + `}`, full},
		{"data, and more beside it", `{"data":` + flow + `,"request_id":"r"}`, full},
		{"top level, with data", strings.TrimSuffix(flow, "}") + `,"data":{"x":1}}`, full},
		{"authorizeUrl", `{"authorizeUrl":"https://p.example/a","state":"st_1"}`, short},
		{"authorizeUrl in data", `{"data":{"authorizeUrl":"https://p.example/a","state":"st_1"}}`, short},
		{"no expiry", `{"authorize_url":"https://p.example/a","state":"st_1","expires_at":null}`, short},
		{"white space", "\n { \"data\" : " + flow + " } ", full},
		{"no state", `{"authorize_url":"https://p.example/a"}`, refused},
		{"no url", `{"state":"st_1"}`, refused},
		{"a script", `{"authorize_url":"javascript:alert(1)","state":"st_1"}`, refused},
		{"a file", `{"authorize_url":"file:///etc/passwd","state":"st_1"}`, refused},
		{"another scheme", `{"authorize_url":"app://p.example/a","state":"st_1"}`, refused},
		{"no host", `{"authorize_url":"https:///a","state":"st_1"}`, refused},
		{"a path", `{"authorize_url":"/a","state":"st_1"}`, refused},
		{"terminal codes in the url", `{"authorize_url":"https://p.example/\u001b[2J","state":"st_1"}`, refused},
		{"a reversed name in the url", `{"authorize_url":"https://p.example/?q=\u202eabc","state":"st_1"}`, refused},
		{"a line break in the state", `{"authorize_url":"https://p.example/a","state":"st\n1"}`, refused},
		{"a list", `[` + flow + `]`, refused},
		{"broken", `{"authorize_url":`, refused},
		{"null", `null`, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, serveBody(t, tt.body).URL).StartOAuth(t.Context(), api.OAuthRequest{Provider: "github"})
			if tt.want == refused {
				if problem, ok := errors.AsType[*fetch.Problem](err); !ok || problem.Reason != fetch.BadAnswer {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("flow (-got +want):\n%s", diff)
			}
		})
	}
}

func TestEnvelopesOfAFlowsStatus(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       api.OAuthStatus // zero: refused
	}{
		{"pending", `{"status":"pending","provider":"github","expires_at":"2030-01-02T03:04:05Z"}`,
			api.OAuthStatus{Status: "pending", Provider: "github", ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}},
		{"completed", `{"status":"completed","secret_id":"sec_1"}`, api.OAuthStatus{Status: "completed", SecretID: "sec_1"}},
		{"completed in data", `{"data":{"status":"completed","secret_id":"sec_1"}}`, api.OAuthStatus{Status: "completed", SecretID: "sec_1"}},
		{"ready", `{"status":"ready","secret_id":"sec_1"}`, api.OAuthStatus{Status: "completed", SecretID: "sec_1"}},
		{"succeeded", `{"status":"succeeded"}`, api.OAuthStatus{Status: "completed"}},
		{"failed", `{"status":"failed","error":"expired"}`, api.OAuthStatus{Status: "failed", Error: "expired"}},
		{"error", `{"status":"error","message":"Try again."}`, api.OAuthStatus{Status: "failed", Message: "Try again."}},
		{"denied", `{"status":"denied","error":"access_denied"}`, api.OAuthStatus{Status: "denied", Error: "access_denied"}},
		{"an error of null", `{"status":"pending","error":null,"secret_id":null,"expires_at":null}`, api.OAuthStatus{Status: "pending"}},
		{"another word", `{"status":"thinking"}`, api.OAuthStatus{Status: "thinking"}},
		{"terminal codes", `{"status":"failed","message":"a\u001b[2Jb\nc"}`, api.OAuthStatus{Status: "failed", Message: "a [2Jb c"}},
		{"what was sent", `{"status":"failed","message":"no flow st_canary"}`, api.OAuthStatus{Status: "failed"}},
		{"no status", `{"state":"st_1"}`, api.OAuthStatus{}},
		{"a number", `{"status":1}`, api.OAuthStatus{}},
		{"a list", `[{"status":"pending"}]`, api.OAuthStatus{}},
		{"nothing", ``, api.OAuthStatus{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, serveBody(t, tt.body).URL).OAuthStatus(t.Context(), "st_canary")
			if problem, ok := errors.AsType[*fetch.Problem](err); (ok && problem.Reason == fetch.BadAnswer) != (tt.want == api.OAuthStatus{}) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("status (-got +want):\n%s", diff)
			}
		})
	}
}

// The fields that StartOAuth and OAuthStatus send.
func TestOAuthRequests(t *testing.T) {
	var asked []string
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		answerJSON(w, 200, map[string]string{"authorize_url": "https://p.example/a", "state": "st_1", "status": "pending"})
	})
	c := client(t, vault.URL)
	for _, n := range []api.OAuthRequest{
		{Provider: "github"},
		{Provider: "slack", RedirectURI: "https://app.example/done", OAuthSecret: api.OAuthSecret{
			Scope: "workspace", OwnerUserID: "u_1", ExternalUserID: "x_1", ExternalWorkspaceID: "y_1",
			ResourceType: sandbox.Type, ResourceID: sandbox.ID, ExposeAsEnv: "TOKEN",
		}},
	} {
		if _, err := c.StartOAuth(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.OAuthStatus(t.Context(), "st&1 ="); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`POST /api/v1/egress/oauth/start {"provider":"github"}`,
		`POST /api/v1/egress/oauth/start {"provider":"slack","scope":"workspace","owner_user_id":"u_1","external_user_id":"x_1",` +
			`"external_workspace_id":"y_1","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"TOKEN","redirect_uri":"https://app.example/done"}`,
		`GET /api/v1/egress/oauth/status?state=st%261+%3D `,
	}
	if diff := cmp.Diff(asked, want); diff != "" {
		t.Errorf("requests (-got +want):\n%s", diff)
	}
	if _, err := c.OAuthStatus(t.Context(), ""); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("no state: error %v, want %v", err, api.ErrInvalid)
	}
}

// A flow's state is secret like a key: no error contains it, whatever the vault answers.
func TestErrorsNeverRepeatAState(t *testing.T) {
	const state = "st_canary_0123456789"
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		text := "no flow " + r.URL.Query().Get("state")
		w.Header().Set("X-Request-Id", text)
		answerJSON(w, 404, api.ErrorBody{Error: text, Code: text, RequestID: text})
	})
	_, err := client(t, vault.URL).OAuthStatus(t.Context(), state)
	refusal, ok := errors.AsType[*api.Error](err)
	if !ok || !errors.Is(err, api.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	said, _ := json.Marshal([]string{err.Error(), refusal.Message, refusal.RequestID})
	if strings.Contains(string(said), state) {
		t.Errorf("%s repeats the state", said)
	}
	vault.Close()
	if _, err := client(t, vault.URL, within(time.Second)).OAuthStatus(t.Context(), state); err == nil || strings.Contains(err.Error(), state) {
		t.Errorf("error %v", err)
	}
}
