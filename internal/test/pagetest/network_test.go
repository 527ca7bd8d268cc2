package pagetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/api"
)

// must makes a call with the tenant key, and decodes data of its answer.
func must[T any](s *screen, method, path string, body any) T {
	s.Helper()
	var answer struct{ Data T }
	status, text := s.Do(s, s.TenantKey, method, path, body)
	if err := json.Unmarshal(text, &answer); err != nil || status/100 != 2 {
		s.Fatalf("%s %s: status %d: %s", method, path, status, text)
	}
	return answer.Data
}

// asPlaceholder sets a secret that a resource has a placeholder for.
func (s *screen) asPlaceholder(name string, r api.Resource, env string, rule *api.EgressRule) (secretID, bindingID string) {
	s.Helper()
	body := map[string]any{"name": name, "value": "example-value-that-is-nobodys-0001"}
	if rule != nil {
		body["egress"] = rule
	}
	id := s.PutSecret(s, body)
	b := must[api.Binding](s, "POST", "/egress/bindings", map[string]any{
		"secret_id": id, "resource_type": r.Type, "resource_id": r.ID, "expose_as_env": env, "delivery": "placeholder"})
	return id, b.ID
}

// report reports requests of a resource as its broker does.
func (s *screen) report(r api.Resource, events ...api.TrafficEvent) {
	s.Helper()
	made := must[api.IssuedKey](s, "POST", "/egress/keys", map[string]any{"broker": true, "resources": []string{r.String()}})
	key, err := api.ParseKey(made.Key)
	if err != nil {
		s.Fatal(err)
	}
	for i := range events {
		events[i].ID, events[i].OccurredAt, events[i].Resource, events[i].Method, events[i].Path = fmt.Sprintf("%016d", i), time.Now(), r, "GET", "/"
	}
	if status, text := s.Do(s, key, "POST", "/egress/traffic", api.TrafficReport{Events: events}); status != 200 {
		s.Fatalf("report: status %d: %s", status, text)
	}
}

// demoNetwork adds to a vault what the view of the network shows.
func demoNetwork(s *screen) {
	s.Helper()
	secret, binding := s.asPlaceholder("payments", builder, "PAYMENTS_KEY", &api.EgressRule{Hosts: []string{"api.example.com"}})
	s.asPlaceholder("search", builder, "SEARCH_KEY", nil)
	swapped := []api.EventRef{{ID: binding, SecretID: secret, Version: 1}}
	s.report(builder, api.TrafficEvent{Host: "api.example.com", Effect: api.EffectAllow, Swapped: swapped},
		api.TrafficEvent{Host: "api.example.com", Effect: api.EffectAllow, Swapped: swapped},
		api.TrafficEvent{Host: "registry.example.net", Effect: api.EffectPending}, api.TrafficEvent{Host: "evil.example", Effect: api.EffectPending, Refused: true})
	must[api.AllowlistEntry](s, "POST", "/egress/allowlist", map[string]any{"host": "api.example.com", "methods": []string{"GET", "POST"}, "note": "payments"})
	must[api.Policy](s, "PATCH", "/egress/policies", map[string]any{"mode": "enforce", "resource_type": builder.Type, "resource_id": builder.ID})
}

// The allowlist and the policies, each step on the page and then checked through the API.
func network(t *testing.T, s *screen) {
	s.signIn()
	s.press("Network")
	s.shows("No request of the last 7 days went to such a host.")
	s.row("All others", "recorded only denied never")
	demoNetwork(s)
	s.press("Refresh")
	s.row("registry.example.net", "computer build-01 GET 1 just now Allow")
	s.row("evil.example", "1 of 1 denied")
	s.row("api.example.com", "GET POST allowed all resources payments just now")
	s.row("computer build-01", "enforced denied just now")
	s.row("payments", "api.example.com 2 requests just now")

	entries := func() (list []api.AllowlistEntry) {
		t.Helper()
		var answer struct{ Rules []api.AllowlistEntry }
		if _, text := s.Do(t, s.TenantKey, "GET", "/egress/allowlist", nil); json.Unmarshal(text, &answer) != nil {
			t.Fatalf("allowlist: %s", text)
		}
		return answer.Rules
	}
	s.press("Allow registry.example.net for computer build-01")
	s.press("Add")
	s.announced("registry.example.net is allowed for computer build-01.")
	s.row("registry.example.net", "allowed computer build-01")
	s.wait("![...document.querySelectorAll('main section:first-of-type tbody tr')].some((r) => r.innerText.includes('registry'))")
	s.press("Deny evil.example for computer build-01")
	s.fill("Host", "*.evil.example")
	s.choose("For", "all resources")
	s.press("Methods, path and note")
	s.fill("Methods", "post, GET")
	s.fill("Path", "no path")
	s.press("Add")
	s.shows("Path must be a path such as")
	s.fill("Path", "/v1/**")
	s.press("Add")
	s.announced("*.evil.example is denied for all resources.")
	s.press("Add a host")
	s.press("Add")
	s.shows("Host is needed.")
	s.press("Cancel")
	id, note, path := builder.ID, "payments", "/v1/**"
	kind := builder.Type
	want := []api.AllowlistEntry{
		{Host: "api.example.com", Effect: "allow", Methods: []string{"GET", "POST"}, Note: &note},
		{Host: "registry.example.net", Effect: "allow", Methods: []string{}, ResourceType: &kind, ResourceID: &id},
		{Host: "*.evil.example", Effect: "deny", Methods: []string{"GET", "POST"}, PathGlob: &path},
	}
	if diff := cmp.Diff(want, entries(), cmpopts.IgnoreFields(api.AllowlistEntry{}, "ID", "CreatedAt")); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	s.press("Remove api.example.com for all resources")
	s.press("Remove")
	s.announced("api.example.com is removed.")
	if got := entries(); len(got) != 2 {
		t.Errorf("%d entries are left", len(got))
	}

	s.press("Change the default policy")
	s.choose("Rules are", "enforced")
	s.choose("Hosts that no entry names are", "allowed")
	s.press("Set")
	s.announced("The policy for all other resources is set.")
	s.row("All others", "enforced allowed just now")
	s.press("Set a policy for a resource")
	s.fill("Id", production.ID)
	s.choose("Rules are", "recorded only")
	s.press("Set")
	s.announced("The policy for sandbox " + production.ID + " is set.")
	s.row("sandbox "+production.ID, "recorded only")
	s.press("Change the policy of computer build-01")
	s.choose("Rules are", "recorded only")
	s.press("Set")
	s.announced("The policy for computer build-01 is set.")
	var policies struct{ Policies []api.Policy }
	if _, text := s.Do(t, s.TenantKey, "GET", "/egress/policies", nil); json.Unmarshal(text, &policies) != nil {
		t.Fatalf("policies: %s", text)
	}
	modes := map[string]string{}
	for _, p := range policies.Policies {
		of := ""
		if p.ResourceID != nil {
			of = *p.ResourceID
		}
		modes[of] = p.Mode + " " + p.DefaultEffect
	}
	if diff := cmp.Diff(map[string]string{"": "enforce allow", production.ID: "audit_only deny", builder.ID: "audit_only deny"}, modes); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	s.noProblems(422)
}

// What a restricted key may not read or change of the network isn't offered.
func restrictedNetwork(t *testing.T, s *screen) {
	demoNetwork(s)
	for _, tt := range []struct {
		permissions []string
		shows       []string
		hides       []string
	}{
		{[]string{"network:write"}, []string{"lacks the permission audit:read", "Allowlist", "Add a host"}, []string{"Hosts that no entry names", "Where secrets"}},
		{[]string{"audit:read"}, []string{"lacks the permission network:write", "registry.example.net"}, []string{"Allowlist", "Policies", "Add a host", "Allow registry"}},
		{[]string{"keys:write"}, []string{"lacks the permission audit:read", "lacks the permission network:write"}, []string{"Allowlist", "Where secrets"}},
	} {
		made := must[api.IssuedKey](s, "POST", "/egress/keys", map[string]any{"permissions": tt.permissions})
		key, err := api.ParseKey(made.Key)
		if err != nil {
			t.Fatal(err)
		}
		s.enter(key)
		s.press("Network")
		for _, text := range tt.shows {
			s.shows(text)
		}
		for _, text := range tt.hides {
			if eval[bool](s, "document.querySelector('main').innerText.includes("+quote(text)+")") {
				t.Errorf("%v: %q is shown", tt.permissions, text)
			}
		}
		s.press("Sign out")
	}
	s.noProblems()
}

// Egress rules of secrets and bindings, set with them and changed later.
func egressRules(t *testing.T, s *screen) {
	s.signIn()
	s.press("Set a secret")
	s.fill("Name", "payments")
	s.fill("Value", "a-canary")
	s.fill("Id", builder.ID)
	s.choose("Kind", "Computer")
	s.fill("Variable", "PAYMENTS_KEY")
	s.choose("Delivery", "a placeholder for the proxy")
	s.press("Where a broker may send it")
	s.fill("Ports", "443 8443")
	s.press("Set the secret")
	s.shows("Hosts are needed.")
	s.fill("Hosts", "api.example.com, *.example.net")
	s.press("Set the secret")
	s.announced("payments is set.")
	s.row("payments", "1 binding of payments sent to api.example.com, *.example.net")
	if diff := cmp.Diff(&api.EgressRule{Hosts: []string{"api.example.com", "*.example.net"}, Ports: []int{443, 8443}}, s.secret("payments").Egress); diff != "" {
		t.Errorf("rule (-want +got):\n%s", diff)
	}

	// A change keeps the alphabet of placeholders, which the page doesn't show.
	must[api.Secret](s, "PATCH", "/egress/secrets/"+s.secret("payments").ID, map[string]any{
		"egress": api.EgressRule{Hosts: []string{"api1.example.com"}, Slots: []string{"header:X-Key"}, Shape: &api.EgressShape{Prefix: "sk_", Length: 60, Alphabet: "a-z"}}})
	s.press("Refresh")
	s.row("payments", "sent to api1.example.com")
	s.press("Restrict payments")
	s.fill("Hosts", "https://api.example.com")
	s.press("Set the rule")
	s.shows("Hosts")
	s.wait(find("input", "Hosts") + " === document.activeElement")
	s.fill("Hosts", "api2.example.com")
	s.fill("Paths", "/v1/**")
	s.fill("Placeholders begin with", "sk-live ")
	s.fill("Their length", "10")
	s.press("Set the rule")
	s.shows("Their length must be at least 35")
	s.fill("Their length", "50")
	s.press("Set the rule")
	s.announced("A broker may send payments to api2.example.com.")
	s.wait("document.activeElement.textContent === 'Restrict payments'")
	want := &api.EgressRule{Hosts: []string{"api2.example.com"}, Paths: []string{"/v1/**"}, Slots: []string{"header:X-Key"},
		Shape: &api.EgressShape{Prefix: "sk-live", Length: 50, Alphabet: "a-z"}}
	if got := s.secret("payments"); cmp.Diff(want, got.Egress) != "" || got.Version != 1 {
		t.Errorf("version %d, rule (-want +got):\n%s", got.Version, cmp.Diff(want, got.Egress))
	}

	binding := func(env string) (found api.Binding) {
		t.Helper()
		var list struct{ Bindings []api.Binding }
		if _, text := s.Do(t, s.TenantKey, "GET", "/egress/bindings", nil); json.Unmarshal(text, &list) != nil {
			t.Fatalf("bindings: %s", text)
		}
		for _, b := range list.Bindings {
			if b.ExposeAsEnv == env {
				found = b
			}
		}
		return found
	}
	s.press("Resources")
	s.row("PAYMENTS_KEY", "payments as a placeholder, sent to api2.example.com")
	s.press("Restrict PAYMENTS_KEY of computer build-01")
	s.shows("The rule of the secret payments applies too: it may be sent to api2.example.com.")
	s.fill("Hosts", "api2.example.com")
	s.fill("Methods", "GET")
	s.press("Set the rule")
	s.announced("A broker may send PAYMENTS_KEY of computer build-01 only to api2.example.com.")
	if diff := cmp.Diff(&api.EgressRule{Hosts: []string{"api2.example.com"}, Methods: []string{"GET"}}, binding("PAYMENTS_KEY").Egress); diff != "" {
		t.Errorf("rule (-want +got):\n%s", diff)
	}
	s.press("Restrict PAYMENTS_KEY of computer build-01")
	s.fill("Hosts", "")
	s.fill("Methods", "")
	s.press("Set the rule")
	s.announced("The rule of the secret applies to PAYMENTS_KEY of computer build-01.")
	if b := binding("PAYMENTS_KEY"); b.Egress != nil {
		t.Errorf("rule %+v", b.Egress)
	}
	s.press("Bind a secret to computer build-01")
	s.fill("Secret", "payments")
	s.fill("Variable", "SECOND")
	if eval[bool](s, "!!("+find("summary", "Where a broker may send it")+")") {
		t.Error("a value that is delivered can be given a rule")
	}
	s.choose("Delivery", "a placeholder for the proxy")
	s.press("Where a broker may send it")
	s.fill("Hosts", "api2.example.com")
	s.press("Bind")
	s.announced("payments is bound to computer build-01 as SECOND.")
	if b := binding("SECOND"); b.Egress == nil || b.Delivery != api.DeliverPlaceholder {
		t.Errorf("bound %+v", b)
	}

	s.press("Secrets")
	s.press("Restrict payments")
	for _, field := range []string{"Hosts", "Paths", "Slots"} {
		s.fill(field, "")
	}
	s.press("Set the rule")
	s.announced("A broker sends payments nowhere.")
	s.row("payments", "sent nowhere")
	s.press("Resources")
	s.row("SECOND", "as a placeholder sent nowhere")
	s.holdsNot("the value", "a-canary")
	s.noProblems(422)
}
