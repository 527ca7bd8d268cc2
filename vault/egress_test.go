package vault_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// brokerKey creates a broker key of resources.
func brokerKey(t *testing.T, s *vaulttest.Server, resources ...string) (api.Key, api.IssuedKey) {
	t.Helper()
	a := ask(t, s, s.TenantKey, "POST", "/egress/keys", toJSON(t, map[string]any{"broker": true, "resources": resources}))
	if a.status != http.StatusCreated {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	made := decode[struct{ Data api.IssuedKey }](t, a).Data
	key, err := api.ParseKey(made.Key)
	if err != nil || !key.ForBroker() {
		t.Fatalf("not a broker key: %v", err)
	}
	return key, made
}

// A broker key reveals its own resources, reports their requests, and describes itself, and nothing else.
func TestWhatBrokerKeysDo(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	own, made := brokerKey(t, s, sandbox.String())
	foreign, _ := brokerKey(t, s, other.String())
	before := state(t, s, o)
	for _, route := range s.Vault().Routes() {
		t.Run(route, func(t *testing.T) {
			method, path, body := o.request(t, route, false)
			a := ask(t, s, own, method, path, body)
			switch route {
			case "POST /egress/bindings/reveal", "POST /egress/traffic":
				if a.status != http.StatusOK {
					t.Errorf("status %d: %s", a.status, a.body)
				}
				wantRefusal(t, ask(t, s, foreign, method, path, body), api.ErrDenied, "another resource")
				return
			case "GET /egress/keys/self":
				if got := decode[struct{ Data api.OwnKey }](t, a).Data; !got.Broker || got.ID != made.ID || got.Tenant != "" || got.Key != "" {
					t.Errorf("itself: %+v", got)
				}
				return
			}
			wantRefusal(t, a, api.ErrDenied, "broker key")
			if found := o.mentions(a.body); found != nil {
				t.Errorf("the answer contains %v", found)
			}
		})
	}
	if diff := cmp.Diff(before, state(t, s, o)); diff != "" {
		t.Errorf("the state changed (-before +after):\n%s", diff)
	}
}

// The calls as clients send them: a rule on a secret and on a binding, its change, and what the keys of both kinds reveal.
func TestEgressRules(t *testing.T) {
	s := vaulttest.Start(t)
	rule := map[string]any{"hosts": []string{"api.github.com"}, "shape": map[string]any{"prefix": "ghp_", "length": 40}}
	id := s.PutSecret(t, map[string]any{"name": "github", "value": "ghp_value", "egress": rule})
	bound := decode[struct{ Data api.Binding }](t, ask(t, s, s.TenantKey, "POST", "/egress/bindings", toJSON(t, map[string]any{
		"secret_id": id, "resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "GH_TOKEN", "delivery": "placeholder",
		"egress": map[string]any{"hosts": []string{"api.github.com"}, "paths": []string{"/repos/**"}}}))).Data
	if !strings.HasPrefix(bound.PlaceholderToken, "ghp_") || len(bound.PlaceholderToken) != 40 || bound.Egress == nil || bound.Egress.Paths[0] != "/repos/**" {
		t.Errorf("binding %+v", bound)
	}
	key, _ := brokerKey(t, s, sandbox.String())
	want := &api.Egress{Placeholder: bound.PlaceholderToken, Rules: []api.EgressRule{
		{Hosts: []string{"api.github.com"}, Shape: &api.EgressShape{Prefix: "ghp_", Length: 40}}, {Hosts: []string{"api.github.com"}, Paths: []string{"/repos/**"}}}}
	set := reveal(t, s, key, sandbox)
	if diff := cmp.Diff(values(set), map[string]string{"GH_TOKEN": "ghp_value"}); diff != "" {
		t.Errorf("a broker's values (-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(set.Bound[0].Egress, want); diff != "" {
		t.Errorf("egress (-got +want)\n%s", diff)
	}
	agents := reveal(t, s, s.ResourceKey(t, sandbox), sandbox)
	if diff := cmp.Diff(values(agents), map[string]string{"GH_TOKEN": bound.PlaceholderToken}); diff != "" || agents.Bound[0].Egress != nil {
		t.Errorf("an agent's values (-got +want)\n%s", diff)
	}
	for _, tt := range []struct {
		body    string
		host    string // "": no rule
		version int64
	}{
		{`{"egress":{"hosts":["*.example.com"]}}`, "*.example.com", 1},
		{`{"value":"next"}`, "*.example.com", 2},
		{`{"value":"next","egress":{"hosts":["b.example"]}}`, "b.example", 3},
		{`{"egress":null}`, "", 3},
	} {
		got := decode[struct{ Data api.Secret }](t, ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, tt.body)).Data
		host := ""
		if got.Egress != nil {
			host = got.Egress.Hosts[0]
		}
		if host != tt.host || got.Version != tt.version {
			t.Errorf("%s: %q, version %d", tt.body, host, got.Version)
		}
	}
	for body, want := range map[string]string{
		`{"egress":null, "refresh_token":"r"}`:            "value is required",
		`{"egress":{"hosts":["a b"]}}`:                    "egress.hosts may have",
		`{"egress":{"hosts":["a.example"],"port":[443]}}`: "egress has a field that rules don't have",
		`{"egress":{"hosts":"a.example"}}`:                "egress.hosts has the wrong type",
		`{"egress":["a.example"]}`:                        "egress has the wrong type",
		`{}`:                                              "value is required",
	} {
		wantRefusal(t, ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, body), api.ErrInvalid, want)
	}
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/secrets", `{"name":"x","value":"v","metadata":{"egress":{"hosts":["A"]}}}`), api.ErrInvalid, "metadata.egress.hosts")
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/keys", `{"broker":true}`), api.ErrInvalid, "resources is required for a broker key")
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/resource-keys", `{"resource_type":"sandbox","resource_id":"sb_1","broker":true}`), api.ErrInvalid, "broker")
}

// A waiting reveal of a broker returns when a rule changes, and an agent's goes on waiting.
func TestBrokerWaitsForRules(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.PutSecret(t, map[string]any{"name": "a", "value": "v", "resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "A", "delivery": "placeholder"})
	key, _ := brokerKey(t, s, sandbox.String())
	wait := func(key api.Key, seconds int) <-chan int {
		body, _ := revealOf(t, sandbox, reveal(t, s, key, sandbox).Etag, seconds)
		done := make(chan int, 1)
		go func() { done <- ask(t, s, key, "POST", "/egress/bindings/reveal", body).status }()
		return done
	}
	broker, agent := wait(key, 60), wait(s.ResourceKey(t, sandbox), 1)
	if a := ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, `{"egress":{"hosts":["a.example"]}}`); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if status := <-broker; status != http.StatusOK {
		t.Errorf("the broker: status %d", status)
	}
	if status := <-agent; status != http.StatusNotModified {
		t.Errorf("the agent: status %d", status)
	}
}

// A rule with another shape gives an agent's set another placeholder and another etag, and ends its wait.
func TestAgentWaitsForPlaceholders(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.PutSecret(t, map[string]any{"name": "a", "value": "v", "resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "A", "delivery": "placeholder",
		"egress": map[string]any{"hosts": []string{"a.example"}}})
	key := s.ResourceKey(t, sandbox)
	before := reveal(t, s, key, sandbox)
	w := hold(t, s, key, sandbox, before.Etag, 60)
	if a := ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, `{"egress":{"hosts":["a.example"],"shape":{"prefix":"ghp_"}}}`); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	now := w.opens(t)
	if now.Etag == before.Etag || !strings.HasPrefix(values(now)["A"], "ghp_") {
		t.Errorf("etag %s, before %s; placeholder %s, before %s", now.Etag, before.Etag, values(now)["A"], values(before)["A"])
	}
	changes := api.CompareLabels(api.Labels(before.Bound), api.Labels(now.Bound))
	if diff := cmp.Diff(api.Changes{Changed: []api.Variable{{Name: "A", Version: 1}}}, changes); diff != "" {
		t.Errorf("changes (-want +got)\n%s", diff)
	}
	if got := reveal(t, s, key, sandbox).Etag; got != now.Etag {
		t.Errorf("etag %s, then %s", now.Etag, got)
	}
}

// A waiting reveal of a broker is answered with the new policy when that of its resource changes, also for a set without secrets. One
// of an agent goes on waiting.
func TestBrokerWaitsForPolicy(t *testing.T) {
	s := vaulttest.Start(t)
	key, _ := brokerKey(t, s, sandbox.String())
	wait := func(key api.Key, etag string) (*api.Opener, <-chan answer) {
		body, opener := revealOf(t, sandbox, etag, 60)
		got := make(chan answer, 1)
		go func() { got <- ask(t, s, key, "POST", "/egress/bindings/reveal", body) }()
		return opener, got
	}
	_, agent := wait(s.ResourceKey(t, sandbox), api.Etag(sandbox, nil))
	etag := reveal(t, s, key, sandbox).Etag
	for _, change := range []struct {
		method, path, body string
		mode               string
		rules              int
	}{
		{"PATCH", "/egress/policies", `{"mode":"enforce"}`, "enforce", 0},
		{"POST", "/egress/allowlist", `{"host":"a.example.com"}`, "enforce", 1},
		{"PATCH", "/egress/policies", `{"mode":"audit_only","resource_type":"sandbox","resource_id":"sb_1"}`, "audit_only", 1},
	} {
		opener, broker := wait(key, etag)
		poll.Until(t, patience, "the agent and the broker wait", func() bool { return held(t, s) == 2 })
		if a := ask(t, s, s.TenantKey, change.method, change.path, change.body); a.status >= 300 {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
		got := <-broker
		if got.status != http.StatusOK {
			t.Fatalf("%s: the broker: status %d: %s", change.body, got.status, got.body)
		}
		set, err := opener.Open(decode[api.RevealAnswer](t, got))
		if err != nil {
			t.Fatal(err)
		}
		if set.Policy == nil || set.Policy.Mode != change.mode || len(set.Policy.Rules) != change.rules || set.Etag == etag {
			t.Errorf("%s: %+v, etag %s after %s", change.body, set.Policy, set.Etag, etag)
		}
		etag = set.Etag
	}
	select {
	case a := <-agent:
		t.Errorf("the agent: status %d", a.status)
	default:
	}
	s.Put(t, "a", "v", sandbox, "A")
	if a := <-agent; a.status != http.StatusOK {
		t.Errorf("the agent: status %d: %s", a.status, a.body)
	}
}

// A token that the vault refreshes gets the rule of its provider's API.
func TestRuleOfAProvider(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, `
[[provider]]
preset = "github"
client_id = "miosa"
client_auth = "none"

[[provider]]
name = "own"
preset = "gitlab"
issuer = "https://gitlab.example"
client_id = "miosa"
client_auth = "none"
`))
	for provider, want := range map[string]*api.EgressRule{
		"github": {Hosts: []string{"api.github.com", "github.com", "uploads.github.com"}, Slots: []string{"authorization"}},
		"own":    nil, // on another host
	} {
		a := ask(t, s, s.TenantKey, "POST", "/egress/secrets", toJSON(t, map[string]any{"name": provider, "value": "v", "type": "oauth_connect",
			"refresh_token": "r", "metadata": map[string]any{"oauth": map[string]string{"provider": provider}}}))
		if diff := cmp.Diff(decode[struct{ Data api.Secret }](t, a).Data.Egress, want); diff != "" || a.status != http.StatusCreated {
			t.Errorf("%s: status %d (-got +want)\n%s", provider, a.status, diff)
		}
	}
}
