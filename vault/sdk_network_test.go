package vault_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// ofNetwork reports whether a route is in the tables of this file.
func ofNetwork(route string) bool {
	return strings.Contains(route, "/egress/policies") || strings.Contains(route, "/egress/allowlist") || strings.HasPrefix(route, "GET /egress/audit/resource")
}

// networkSDKs are how MIOSA's SDKs read the answers about networks.
var networkSDKs = []sdk{
	{"python", small("data", "policy", "rule", "items"), networkList},
	{"elixir", small("data", "policy", "rule"), networkList},
	{"typescript", firstOf("data", "policy", "rule", "items"), networkList},
	{"go", goNetworkObject, goNetworkList},
}

func networkList(body []byte, _ string) ([]any, error) {
	return listUnder(body, "data", "policies", "rules", "allowlist", "suggestions", "items")
}

// goNetwork are the fields of policies, rules and suggestions in Go's SDK: one of another type is an error.
type goNetwork struct {
	ID            string   `json:"id"`
	Name          string   `json:"name"`
	Mode          string   `json:"mode"`
	DefaultEffect string   `json:"default_effect"`
	ResourceID    string   `json:"resource_id"`
	ResourceType  string   `json:"resource_type"`
	Description   string   `json:"description"`
	CreatedAt     string   `json:"created_at"`
	UpdatedAt     string   `json:"updated_at"`
	Host          string   `json:"host"`
	Effect        string   `json:"effect"`
	Methods       []string `json:"methods"`
	PathGlob      string   `json:"path_glob"`
	PolicyID      string   `json:"policy_id"`
	Note          string   `json:"note"`
	Reason        string   `json:"reason"`
	DeniedCount   int      `json:"denied_count"`
}

func goNetworkObject(body []byte) (map[string]any, error) {
	var envelope struct {
		Data, Policy, Rule *goNetwork
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, err
	}
	return firstOf("data", "policy", "rule")(body)
}

func goNetworkList(body []byte, noun string) ([]any, error) {
	var envelope struct {
		Policies, Rules, Suggestions []goNetwork
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, err
	}
	if noun == "suggestions" {
		return listUnder(body, "suggestions", "items", "data")
	}
	return listUnder(body, noun, "items")
}

// The calls of the SDKs' Network, tenant-wide and of a sandbox, as each of them sends them and reads their answers.
func TestSDKNetworkCalls(t *testing.T) {
	s := vaulttest.Start(t)
	ids := map[string]string{}
	of := func(body map[string]any) map[string]any { // as the SDKs' sandboxes do
		body["resource_id"], body["resource_type"] = "sb_1", "sandbox"
		return body
	}
	called := map[string]bool{}
	for _, c := range []struct {
		name, method, path string // $NAME stands for an id
		body               map[string]any
		status             int
		object             map[string]any
		list               string
		count              int
		keep               string
	}{
		{"the default, before anybody set one", "GET", "/egress/policies/default", nil, 200, map[string]any{"id": "default", "mode": "audit_only", "default_effect": "deny"}, "", 0, ""},
		{"no policies", "GET", "/egress/policies", nil, 200, nil, "policies", 0, ""},
		{"lockdown", "PATCH", "/egress/policies", map[string]any{"mode": "enforce"}, 200,
			map[string]any{"mode": "enforce", "default_effect": "deny", "resource_id": nil, "name": "default"}, "", 0, "default"},
		{"observe", "PATCH", "/egress/policies", map[string]any{"mode": "audit_only"}, 200, map[string]any{"id": "$default", "mode": "audit_only"}, "", 0, ""},
		{"the default now", "GET", "/egress/policies/default", nil, 200, map[string]any{"id": "$default", "mode": "audit_only"}, "", 0, ""},
		{"lockdown of a sandbox", "PATCH", "/egress/policies", of(map[string]any{"mode": "enforce"}), 200,
			map[string]any{"mode": "enforce", "resource_id": "sb_1", "resource_type": "sandbox", "name": "sandbox:sb_1"}, "", 0, "own"},
		{"observe by id", "PATCH", "/egress/policies/$own", map[string]any{"mode": "audit_only"}, 200, map[string]any{"id": "$own", "mode": "audit_only"}, "", 0, ""},
		{"update", "PATCH", "/egress/policies/$own", map[string]any{"name": "locked", "description": "for tests", "default_effect": "allow"}, 200,
			map[string]any{"name": "locked", "description": "for tests", "default_effect": "allow", "mode": "audit_only"}, "", 0, ""},
		{"update the default by its name", "PATCH", "/egress/policies/default", map[string]any{"mode": "enforce"}, 200, map[string]any{"id": "$default", "mode": "enforce"}, "", 0, ""},
		{"one", "GET", "/egress/policies/$own", nil, 200, map[string]any{"id": "$own"}, "", 0, ""},
		{"one by its resource", "GET", "/egress/policies/sb_1", nil, 200, map[string]any{"id": "$own"}, "", 0, ""},
		{"create", "POST", "/egress/policies", map[string]any{"name": "n", "mode": "enforce", "default_effect": "deny", "resource_id": "c_1", "resource_type": "computer"}, 201,
			map[string]any{"name": "n", "mode": "enforce", "default_effect": "deny", "resource_type": "computer"}, "", 0, "computer"},
		{"create as Elixir", "POST", "/egress/policies", map[string]any{"name": "n", "resource_id": "c_2", "resource_type": "computer"}, 201,
			map[string]any{"mode": "enforce", "default_effect": "deny", "description": ""}, "", 0, ""},
		{"policies", "GET", "/egress/policies", nil, 200, nil, "policies", 4, ""},
		{"policies of a sandbox", "GET", "/egress/policies?resource_id=sb_1&resource_type=sandbox", nil, 200, nil, "policies", 1, ""},
		{"allow", "POST", "/egress/allowlist", map[string]any{"host": "API.example.com.", "effect": "allow"}, 201,
			map[string]any{"host": "api.example.com", "effect": "allow", "methods": []any{}, "path_glob": nil, "policy_id": nil, "resource_id": nil, "note": nil}, "", 0, "rule"},
		{"allow again", "POST", "/egress/allowlist", map[string]any{"host": "api.example.com", "effect": "allow"}, 200, map[string]any{"id": "$rule"}, "", 0, ""},
		{"allow with all", "POST", "/egress/allowlist", of(map[string]any{"host": "*.example.com", "effect": "allow", "methods": []string{"get", "POST"}, "path_glob": "/v1/*",
			"policy_id": "$own", "note": "CI"}), 201,
			map[string]any{"methods": []any{"GET", "POST"}, "path_glob": "/v1/*", "policy_id": "$own", "resource_id": "sb_1", "resource_type": "sandbox", "note": "CI"}, "", 0, "full"},
		{"the rest empty", "POST", "/egress/allowlist", map[string]any{"host": "b.example.com", "effect": "", "methods": []string{}, "path_glob": "", "policy_id": "", "note": "",
			"resource_id": "", "resource_type": ""}, 201, map[string]any{"effect": "allow", "path_glob": nil}, "", 0, ""},
		{"the rest null", "POST", "/egress/allowlist", map[string]any{"host": "c.example.com", "effect": nil, "methods": nil, "path_glob": nil, "policy_id": nil, "note": nil,
			"resource_id": nil, "resource_type": nil}, 201, map[string]any{"effect": "allow", "path_glob": nil}, "", 0, ""},
		{"deny an address", "POST", "/egress/allowlist", map[string]any{"host": "169.254.169.254", "effect": "deny"}, 201, map[string]any{"effect": "deny"}, "", 0, ""},
		{"deny a network", "POST", "/egress/allowlist", map[string]any{"host": "10.1.2.3/8", "effect": "deny"}, 201, map[string]any{"host": "10.0.0.0/8"}, "", 0, ""},
		{"rules", "GET", "/egress/allowlist", nil, 200, nil, "rules", 6, ""},
		{"rules of a policy", "GET", "/egress/allowlist?policy_id=$own", nil, 200, nil, "rules", 1, ""},
		{"rules of a sandbox", "GET", "/egress/allowlist?resource_id=sb_1&resource_type=sandbox", nil, 200, nil, "rules", 1, ""},
		{"remove", "DELETE", "/egress/allowlist/$rule", nil, 200, map[string]any{"ok": true}, "", 0, ""},
		{"suggestions", "GET", "/egress/audit/suggestions?since=7d&resource_id=sb_1&resource_type=sandbox", nil, 200, nil, "suggestions", 0, ""},
		{"delete with its rules", "DELETE", "/egress/policies/$own", nil, 200, map[string]any{"ok": true}, "", 0, ""},
		{"its rules are gone", "GET", "/egress/allowlist", nil, 200, nil, "rules", 4, ""},
		{"rules of another", "POST", "/egress/allowlist", map[string]any{"host": "d.example.com", "policy_id": "$computer"}, 201, nil, "", 0, ""},
		{"delete by its resource", "DELETE", "/egress/policies/c_1", nil, 200, map[string]any{"ok": true}, "", 0, ""},
		{"its rules are gone too", "GET", "/egress/allowlist", nil, 200, nil, "rules", 4, ""},
		{"delete the default by its name", "DELETE", "/egress/policies/default", nil, 200, map[string]any{"ok": true}, "", 0, ""},
		{"the built-in default", "GET", "/egress/policies/default", nil, 200, map[string]any{"id": "default", "mode": "audit_only"}, "", 0, ""},
		{"the last one", "GET", "/egress/policies", nil, 200, nil, "policies", 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			named := func(text string) string {
				for name, id := range ids {
					text = strings.ReplaceAll(text, "$"+name, id)
				}
				return text
			}
			body := ""
			if c.body != nil {
				body = named(toJSON(t, c.body))
			}
			path, _, _ := strings.Cut(c.path, "?")
			called[c.method+" "+routeOf(path)] = true
			a := ask(t, s, s.TenantKey, c.method, named(c.path), body)
			if a.status != c.status {
				t.Fatalf("status %d, want %d: %s", a.status, c.status, a.body)
			}
			for _, sdk := range networkSDKs {
				if c.list != "" {
					list, err := sdk.list(a.body, c.list)
					if err != nil || len(list) != c.count {
						t.Errorf("%s: %d items, want %d: %v\n%s", sdk.name, len(list), c.count, err, a.body)
					}
					continue
				}
				o, err := sdk.object(a.body)
				if err != nil {
					t.Fatalf("%s: %v\n%s", sdk.name, err, a.body)
				}
				for k, want := range c.object {
					if text, ok := want.(string); ok {
						want = named(text)
					}
					if diff := cmp.Diff(o[k], want); diff != "" {
						t.Errorf("%s: %s (-got +want)\n%s", sdk.name, k, diff)
					}
				}
				if id, ok := o["id"].(string); ok && c.keep != "" {
					ids[c.keep] = id
				}
			}
		})
	}
	for _, route := range s.Vault().Routes() {
		if ofNetwork(route) && !called[route] && !strings.HasPrefix(route, "GET /egress/audit/resource") {
			t.Errorf("%s isn't in this table", route)
		}
	}
}

// What is refused, and what the sentence names.
func TestNetworkRefusals(t *testing.T) {
	s := vaulttest.Start(t)
	ask(t, s, s.TenantKey, "POST", "/egress/policies", `{"name":"of sb_1","resource_id":"sb_1","resource_type":"sandbox"}`)
	for _, tt := range []struct {
		name, method, path, body string
		kind                     *api.Kind
		says                     string
	}{
		{"no name", "POST", "/egress/policies", `{}`, api.ErrInvalid, "name"},
		{"mode", "POST", "/egress/policies", `{"name":"n","mode":"observe"}`, api.ErrInvalid, "mode must be audit_only or enforce"},
		{"default effect", "POST", "/egress/policies", `{"name":"n","default_effect":"drop"}`, api.ErrInvalid, "default_effect"},
		{"half a resource", "POST", "/egress/policies", `{"name":"n","resource_id":"sb_1"}`, api.ErrInvalid, "resource_type"},
		{"a second one", "POST", "/egress/policies", `{"name":"n","resource_id":"sb_1","resource_type":"sandbox"}`, api.ErrConflict, "pol_"},
		{"invisible text", "PATCH", "/egress/policies", `{"name":"a\u202eb"}`, api.ErrInvalid, "name"},
		{"long description", "PATCH", "/egress/policies", `{"description":"` + strings.Repeat("x", 1025) + `"}`, api.ErrInvalid, "description"},
		{"unknown policy", "PATCH", "/egress/policies/pol_x", `{"mode":"enforce"}`, api.ErrNotFound, "policy"},
		{"no host", "POST", "/egress/allowlist", `{}`, api.ErrInvalid, "host is required"},
		{"all hosts", "POST", "/egress/allowlist", `{"host":"*"}`, api.ErrInvalid, "default_effect"},
		{"a port", "POST", "/egress/allowlist", `{"host":"a.example.com:443"}`, api.ErrInvalid, "host"},
		{"a URL", "POST", "/egress/allowlist", `{"host":"https://a.example.com"}`, api.ErrInvalid, "scheme"},
		{"a pattern within", "POST", "/egress/allowlist", `{"host":"a.*.com"}`, api.ErrInvalid, "host"},
		{"a half address", "POST", "/egress/allowlist", `{"host":"127.1"}`, api.ErrInvalid, "host"},
		{"a zone", "POST", "/egress/allowlist", `{"host":"fe80::1%eth0"}`, api.ErrInvalid, "host"},
		{"another alphabet", "POST", "/egress/allowlist", `{"host":"bücher.example"}`, api.ErrInvalid, "xn--"},
		{"effect", "POST", "/egress/allowlist", `{"host":"a.example.com","effect":"block"}`, api.ErrInvalid, "effect"},
		{"methods of another type", "POST", "/egress/allowlist", `{"host":"a.example.com","methods":"GET"}`, api.ErrInvalid, "methods must be a list"},
		{"a method", "POST", "/egress/allowlist", `{"host":"a.example.com","methods":["G T"]}`, api.ErrInvalid, "methods"},
		{"too much together", "POST", "/egress/allowlist", `{"host":"a.example.com","methods":["` + strings.Repeat("M", 250) + `","` + strings.Repeat("N", 250) +
			`"],"path_glob":"/` + strings.Repeat("p", 500) + `"}`, api.ErrInvalid, "960 bytes together"},
		{"path", "POST", "/egress/allowlist", `{"host":"a.example.com","path_glob":"v1/*"}`, api.ErrInvalid, "path_glob"},
		{"half an escape", "POST", "/egress/allowlist", `{"host":"a.example.com","path_glob":"/%2"}`, api.ErrInvalid, "path_glob"},
		{"an unknown policy", "POST", "/egress/allowlist", `{"host":"a.example.com","policy_id":"pol_x"}`, api.ErrNotFound, "policy"},
		{"an unknown entry", "DELETE", "/egress/allowlist/rul_x", "", api.ErrNotFound, "entry"},
		{"another filter", "GET", "/egress/allowlist?hosts=a", "", api.ErrInvalid, "host"},
		{"since", "GET", "/egress/audit/suggestions?since=yesterday", "", api.ErrInvalid, "since"},
		{"no WebSocket", "GET", "/egress/audit/resource/sb_1", "", api.ErrMalformed, "miosa-egress-audit-v1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefusal(t, ask(t, s, s.TenantKey, tt.method, tt.path, tt.body), tt.kind, tt.says)
		})
	}
	if a := ask(t, s, s.TenantKey, "GET", "/egress/allowlist", ""); a.status != http.StatusOK || items(t, a) != 0 {
		t.Errorf("entries: %s", a.body)
	}
}

// A key that is restricted to a resource sets its policy and entries, and neither sees nor changes those of others and of all.
func TestNetworkOfARestrictedKey(t *testing.T) {
	s := vaulttest.Start(t)
	key, _ := mint(t, s, s.TenantKey, `{"permissions":["network:write"],"resources":["sandbox:sb_1"]}`)
	own, foreign := `"resource_id":"sb_1","resource_type":"sandbox"`, `"resource_id":"sb_2","resource_type":"sandbox"`
	all := decode[struct{ Data api.AllowlistEntry }](t, ask(t, s, s.TenantKey, "POST", "/egress/allowlist", `{"host":"all.example.com"}`)).Data.ID
	other := decode[struct{ Data api.Policy }](t, ask(t, s, s.TenantKey, "PATCH", "/egress/policies", `{"mode":"enforce",`+foreign+`}`)).Data.ID
	ask(t, s, s.TenantKey, "PATCH", "/egress/policies", `{"mode":"enforce"}`)
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"PATCH", "/egress/policies", `{"mode":"audit_only"}`, 403},
		{"PATCH", "/egress/policies/default", `{"mode":"audit_only"}`, 403},
		{"PATCH", "/egress/policies", `{"mode":"audit_only",` + foreign + `}`, 403},
		{"POST", "/egress/policies", `{"name":"n"}`, 403},
		{"POST", "/egress/policies", `{"name":"n",` + foreign + `}`, 403},
		{"PATCH", "/egress/policies/" + other, `{"mode":"audit_only"}`, 404},
		{"GET", "/egress/policies/" + other, "", 404},
		{"GET", "/egress/policies/sb_2", "", 404},
		{"DELETE", "/egress/policies/" + other, "", 404},
		{"DELETE", "/egress/policies/sb_2", "", 404},
		{"DELETE", "/egress/policies/default", "", 404},
		{"POST", "/egress/allowlist", `{"host":"a.example.com"}`, 403},
		{"POST", "/egress/allowlist", `{"host":"a.example.com",` + foreign + `}`, 403},
		{"DELETE", "/egress/allowlist/" + all, "", 404},
		{"PATCH", "/egress/policies", `{"mode":"audit_only",` + own + `}`, 200},
		{"POST", "/egress/allowlist", `{"host":"a.example.com",` + own + `}`, 201},
	} {
		if a := ask(t, s, key, tt.method, tt.path, tt.body); a.status != tt.status {
			t.Errorf("%s %s %s: status %d, want %d: %s", tt.method, tt.path, tt.body, a.status, tt.status, a.body)
		}
	}
	for _, path := range []string{"/egress/policies", "/egress/allowlist"} {
		if n := items(t, ask(t, s, key, "GET", path, "")); n != 1 {
			t.Errorf("%s: %d items, want its own", path, n)
		}
		if n := items(t, ask(t, s, s.TenantKey, "GET", path, "")); n < 2 {
			t.Errorf("%s: the tenant has %d", path, n)
		}
	}
}
