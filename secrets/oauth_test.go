package secrets_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
)

// A complete flow with the real vault: list, start, consent, wait, and the token in the sandbox's set.
func TestRealOAuth(t *testing.T) {
	p := newProvider(t)
	v := vaulttest.Start(t, p.at(t))
	c := client(t, v.BaseURL, v.TenantKey)
	providers, err := c.Providers(t.Context())
	want := []secrets.Provider{{Name: "acme", DisplayName: "Acme", Scopes: []string{"read"}}}
	if diff := cmp.Diff(providers, want); err != nil || diff != "" {
		t.Fatalf("error %v, providers (-got +want):\n%s", err, diff)
	}
	flow, err := c.ForSandbox("sb_1").Connect(t.Context(), "acme", secrets.Connect{ExposeAsEnv: "TOKEN", Scope: "external_user", ExternalUserID: "x_1"})
	if err != nil || flow.Provider != "acme" || time.Until(flow.ExpiresAt) < time.Minute {
		t.Fatalf("error %v, flow %v", err, flow)
	}
	if got, err := flow.Status(t.Context()); err != nil || got.Status != api.FlowPending || got.Provider != "acme" || !got.ExpiresAt.Equal(flow.ExpiresAt) {
		t.Errorf("before: error %v, status %+v", err, got)
	}
	type result struct {
		secrets.FlowStatus
		err error
	}
	ended := make(chan result, 1)
	before := v.Requests("GET /egress/oauth/status")
	go func() {
		// Another process can wait as well: it needs only the state.
		got, err := c.Resume(flow.State).WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: time.Minute, PollInterval: 5 * time.Millisecond})
		ended <- result{got, err}
	}()
	poll.Until(t, 20*time.Second, "two requests for the flow's status", func() bool {
		return v.Requests("GET /egress/oauth/status") >= before+2
	})
	if page, err := visit(flow.AuthorizeURL); err != nil || !strings.Contains(page, "Acme is connected") {
		t.Fatalf("error %v, page %s", err, page)
	}
	got := <-ended
	if got.err != nil || got.Status != api.FlowCompleted || got.SecretID == "" {
		t.Fatalf("error %v, status %+v", got.err, got.FlowStatus)
	}
	secret, err := c.Get(t.Context(), got.SecretID)
	if err != nil || secret.Type != "oauth_connect" || secret.OAuthProvider != "acme" || *secret.ExternalUserID != "x_1" || *secret.ResourceID != "sb_1" {
		t.Errorf("error %v, secret %+v", err, secret)
	}
	key, err := c.CreateKey(t.Context(), sandbox, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token := read(t, v, sandbox, key.Key)["TOKEN"]; !strings.HasPrefix(token, "at-") {
		t.Error("the sandbox does not get the token")
	}
}

func TestRealOAuthThatFails(t *testing.T) {
	p := newProvider(t)
	v := vaulttest.Start(t, p.at(t))
	c := client(t, v.BaseURL, v.TenantKey)
	short := vaulttest.Start(t, p.at(t), vaulttest.WithFlowTime(100*time.Millisecond))
	impatient := client(t, short.BaseURL, short.TenantKey)
	for _, tt := range []struct {
		name         string
		at           *secrets.Client
		answer       string // "": the user does not come
		status, word string
	}{
		{"denied", c, "access_denied", api.FlowDenied, "access_denied"},
		{"refused", c, "invalid_scope", api.FlowFailed, "invalid_scope"},
		{"expired", impatient, "", api.FlowFailed, "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flow, err := tt.at.Connect(t.Context(), "acme", secrets.Connect{})
			if err != nil {
				t.Fatal(err)
			}
			if p.answer = tt.answer; tt.answer != "" {
				if _, err := visit(flow.AuthorizeURL); err != nil {
					t.Fatal(err)
				}
			}
			got, err := flow.WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: 20 * time.Second, PollInterval: 5 * time.Millisecond})
			ended, ok := errors.AsType[*secrets.FlowError](err)
			if !ok || ended.Status != got || got.Status != tt.status || got.Error != tt.word || got.SecretID != "" || got.Message == "" {
				t.Fatalf("error %v, status %+v", err, got)
			}
			if text := err.Error(); !strings.HasSuffix(text, got.Message) || strings.Contains(text, flow.State) {
				t.Errorf("error %q", text)
			}
		})
	}
	for name, want := range map[string]*api.Kind{"": api.ErrInvalid, "nobody": api.ErrInvalid} {
		if _, err := c.Connect(t.Context(), name, secrets.Connect{}); !errors.Is(err, want) {
			t.Errorf("provider %q: error %v, want %v", name, err, want)
		}
	}
	if _, err := c.Connect(t.Context(), "acme", secrets.Connect{RedirectURI: "https://elsewhere.example/"}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a redirect that isn't allowed: error %v, want %v", err, api.ErrInvalid)
	}
	if _, err := c.Resume("st_unknown").WaitForCompletion(t.Context(), secrets.WaitOptions{}); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("no such flow: error %v, want %v", err, api.ErrNotFound)
	}
	flow, err := c.Connect(t.Context(), "acme", secrets.Connect{})
	if err != nil {
		t.Fatal(err)
	}
	foreign := client(t, v.BaseURL, v.Tenant(t, "another"))
	if _, err := foreign.Resume(flow.State).Status(t.Context()); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("another tenant's flow: error %v, want %v", err, api.ErrNotFound)
	}
}
