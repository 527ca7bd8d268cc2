package secrets_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// listing is a client of a platform that has no flow status. Each list of secrets is answered with the next of
// lists, a body or a status, and then with the last one. expires is the flow's expires_at field, or empty.
func listing(t *testing.T, status int, expires string, lists ...string) *secrets.Client {
	t.Helper()
	var mu sync.Mutex // guards lists
	c, _ := serve(t, 20*time.Second, func(w http.ResponseWriter, r *http.Request) {
		const refusal = `{"error":{"code":"X","message":"Not Found"}}`
		switch strings.TrimPrefix(r.URL.Path, "/api/v1/egress") {
		case "/oauth/start":
			_, _ = io.WriteString(jsonTo(w), `{"data":{"authorize_url":"https://p.example/a","state":"`+canaryState+`"`+expires+`}}`)
		case "/oauth/status":
			jsonTo(w).WriteHeader(status)
			_, _ = io.WriteString(w, refusal)
		case "/secrets":
			mu.Lock()
			defer mu.Unlock()
			answer := lists[0]
			if len(lists) > 1 {
				lists = lists[1:]
			}
			if code := map[string]int{"403": 403, "404": 404, "503": 503}[answer]; code != 0 {
				jsonTo(w).WriteHeader(code)
				answer = refusal
			}
			_, _ = io.WriteString(jsonTo(w), answer)
		}
	})
	return c
}

func TestWaitByTheList(t *testing.T) {
	const (
		old     = `{"id":"sec_0","type":"oauth_connect","oauth_provider":"github"}`
		ours    = `{"id":"sec_1","type":"oauth_connect","oauth_provider":"GitHub","external_user_id":"u_1"}`
		bare    = `{"id":"sec_2","type":"oauth_connect"}`
		another = `{"id":"sec_3","type":"api_key"}`
		typeOf  = `{"id":"sec_4"}`
		google  = `{"id":"sec_5","type":"oauth_connect","metadata":{"oauth":{"provider":"google"}}}`
		slack   = `{"id":"sec_6","type":"oauth_connect","metadata":{"provider":"slack"}}`
		theirs  = `{"id":"sec_7","type":"oauth_connect","external_user_id":"u_2"}`
		there   = `{"id":"sec_8","type":"oauth_connect","resource_id":"sb_2","resource_type":"sandbox"}`
		others  = `{"data":[` + old + "," + another + "," + typeOf + "," + google + "," + slack + "," + theirs + "," + there + `]}`
	)
	for _, tt := range []struct {
		name   string
		status int
		lists  []string // the first is the list before the flow
		want   string   // the secret; "": not completed
		kind   error
	}{
		{"a new account", 404, []string{`{"data":[` + old + `]}`, `{"data":[` + old + `]}`, `{"data":[` + old + "," + ours + `]}`}, "sec_1", nil},
		{"the first of all", 404, []string{`{"data":[]}`, `{"data":[` + bare + `]}`}, "sec_2", nil},
		{"made at once", 405, []string{`{"secrets":[]}`, `{"secrets":[` + bare + `]}`}, "sec_2", nil},
		{"a status that isn't there", 501, []string{`[]`, `[` + bare + `]`}, "sec_2", nil},
		{"the one that was there", 404, []string{`{"data":[` + old + `]}`}, "", secrets.ErrFlowTimeout},
		{"other accounts and secrets", 404, []string{`{"data":[` + old + `]}`, others}, "", secrets.ErrFlowTimeout},
		{"ours among others", 404, []string{`{"data":[` + old + `]}`, others, strings.TrimSuffix(others, "]}") + "," + ours + "]}"}, "sec_1", nil},
		{"a list that fails meanwhile", 404, []string{`{"data":[]}`, "503", "503", `{"data":[` + bare + `]}`}, "sec_2", nil},
		{"a list that is refused meanwhile", 404, []string{`{"data":[]}`, "403"}, "", api.ErrDenied},
		{"no list before it", 404, []string{"403", `{"data":[` + bare + `]}`}, "", api.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := listing(t, tt.status, "", tt.lists...)
			flow, err := c.ForSandbox("sb_1").Connect(t.Context(), "github", secrets.Connect{ExternalUserID: "u_1"})
			if err != nil {
				t.Fatal(err)
			}
			wait := secrets.WaitOptions{Timeout: time.Minute, PollInterval: 5 * time.Millisecond}
			if errors.Is(tt.kind, secrets.ErrFlowTimeout) {
				wait.Timeout = 500 * time.Millisecond
			}
			got, err := flow.WaitForCompletion(t.Context(), wait)
			if tt.want != "" && (err != nil || got.Status != api.FlowCompleted || got.SecretID != tt.want || got.Provider != "github") {
				t.Errorf("error %v, status %+v, want %s", err, got, tt.want)
			}
			if tt.want == "" && !errors.Is(err, tt.kind) {
				t.Errorf("error %v with %+v, want %v", err, got, tt.kind)
			}
		})
	}
}

// A flow that has ended without a secret has failed, if its end is known.
func TestListEndsWithTheFlow(t *testing.T) {
	flow, err := listing(t, 404, `,"expires_at":"2020-01-02T03:04:05Z"`, `{"data":[]}`).Connect(t.Context(), "github", secrets.Connect{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = flow.WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: time.Minute})
	if ended, ok := errors.AsType[*secrets.FlowError](err); !ok || ended.Status.Error != "expired" {
		t.Errorf("error %v", err)
	}
}

// A flow that another process started cannot be distinguished by the list, so the list is not read.
func TestListIsForWhoBegan(t *testing.T) {
	flow := listing(t, 404, "", `{"data":[{"id":"sec_1","type":"oauth_connect"}]}`).Resume(canaryState)
	if _, err := flow.WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: time.Minute}); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

// Connect does not start a flow if the vault is unreachable.
func TestConnectNeedsTheVault(t *testing.T) {
	c, _ := serve(t, 500*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t.Error("a flow was started")
		}
		answerJSON(w, 503, api.ErrorBody{Error: "not now"})
	})
	if _, err := c.Connect(t.Context(), "github", secrets.Connect{}); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Connect(ctx, "github", secrets.Connect{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A complete flow with a vault that answers like MIOSA's platform.
func TestRealOAuthOfThePlatform(t *testing.T) {
	p := newProvider(t)
	v := vaulttest.Start(t, p.at(t))
	c := client(t, v.Platform(t, vaulttest.Platform{}), v.TenantKey)
	flow, err := c.ForSandbox("sb_1").Connect(t.Context(), "acme", secrets.Connect{ExposeAsEnv: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := flow.Status(t.Context()); err != nil || got.Status != api.FlowPending {
		t.Errorf("before: error %v, status %+v", err, got)
	}
	if _, err := visit(flow.AuthorizeURL); err != nil {
		t.Fatal(err)
	}
	got, err := flow.WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: time.Minute, PollInterval: 5 * time.Millisecond})
	if err != nil || got.Status != api.FlowCompleted {
		t.Fatalf("error %v, status %+v", err, got)
	}
	if s, err := c.Get(t.Context(), got.SecretID); err != nil || s.Type != "oauth_connect" {
		t.Errorf("error %v, secret %+v", err, s)
	}
}
