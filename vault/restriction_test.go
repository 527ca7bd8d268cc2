package vault_test

import (
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// mint creates a tenant key under by.
func mint(t *testing.T, s *vaulttest.Server, by api.Key, body string) (key api.Key, id string) {
	t.Helper()
	a := ask(t, s, by, "POST", "/egress/keys", body)
	if a.status != http.StatusCreated {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	made := decode[struct{ Data api.IssuedKey }](t, a).Data
	key, err := api.ParseKey(made.Key)
	if err != nil || !key.ForTenant() {
		t.Fatalf("not a tenant key: %v", err)
	}
	return key, made.ID
}

// permissionsOf lists for each route the permissions that a restricted key needs: one of each element.
var permissionsOf = map[string][]string{
	"POST /egress/secrets":              {"secrets:write", "bindings:write"}, // its request binds
	"GET /egress/secrets":               {"secrets:read"},
	"GET /egress/secrets/{id}":          {"secrets:read"},
	"PATCH /egress/secrets/{id}":        {"secrets:write"},
	"DELETE /egress/secrets/{id}":       {"secrets:write"},
	"POST /egress/bindings":             {"bindings:write"},
	"GET /egress/bindings":              {"bindings:write or secrets:read"},
	"PATCH /egress/bindings/{id}":       {"bindings:write"},
	"DELETE /egress/bindings/{id}":      {"bindings:write"},
	"POST /egress/bindings/reveal":      {"none"},
	"POST /egress/resource-keys":        {"keys:write"},
	"GET /egress/resource-keys":         {"keys:write"},
	"DELETE /egress/resource-keys/{id}": {"keys:write"},
	"POST /egress/keys":                 {"keys:write"},
	"GET /egress/keys":                  {"keys:write"},
	"GET /egress/keys/self":             {},
	"DELETE /egress/keys":               {"keys:write"},
	"DELETE /egress/keys/{id}":          {"keys:write"},
	"POST /egress/keys/{id}/replace":    {"keys:write"},
	"GET /egress/oauth/providers":       {"oauth"},
	"POST /egress/oauth/start":          {"oauth", "bindings:write"}, // its request binds
	"GET /egress/oauth/status":          {"oauth"},
	"POST /egress/policies":             {"network:write"},
	"GET /egress/policies":              {"network:write"},
	"PATCH /egress/policies":            {"network:write"},
	"GET /egress/policies/{id}":         {"network:write"},
	"PATCH /egress/policies/{id}":       {"network:write"},
	"DELETE /egress/policies/{id}":      {"network:write"},
	"POST /egress/allowlist":            {"network:write"},
	"GET /egress/allowlist":             {"network:write"},
	"DELETE /egress/allowlist/{id}":     {"network:write"},
	"POST /egress/traffic":              {"none"},
	"GET /egress/audit":                 {"audit:read"},
	"GET /egress/audit/resource/{id}":   {"audit:read"},
	"GET /egress/audit/{id}":            {"audit:read"},
	"GET /egress/audit/head":            {"audit:read"},
	"GET /egress/audit/verify":          {"audit:read"},
	"GET /egress/audit/suggestions":     {"audit:read"},
}

// Every route with keys of one permission, of two, of all but one and of all: no route needs three.
func TestPermissionsOnEveryRoute(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	all := api.Permissions()
	before := 0
	for set := 1; set < 1<<len(all); set++ {
		if n := bits.OnesCount(uint(set)); n > 2 && n < len(all)-1 {
			continue
		}
		var has []string
		for i, p := range all {
			if set>>i&1 == 1 {
				has = append(has, p)
			}
		}
		name := strings.Join(has, " ")
		key, _ := mint(t, s, s.TenantKey, toJSON(t, map[string]any{"label": name, "permissions": has}))
		for _, route := range s.Vault().Routes() {
			needed, ok := permissionsOf[route]
			if !ok {
				t.Fatalf("%s is new: add its permission here", route)
			}
			allowed := !slices.ContainsFunc(needed, func(one string) bool {
				return !slices.ContainsFunc(strings.Split(one, " or "), func(p string) bool { return slices.Contains(has, p) })
			})
			method, path, body := o.request(t, route, true)
			a := ask(t, s, key, method, path, body)
			switch {
			case !allowed && a.status != http.StatusForbidden:
				t.Errorf("%s with %s: status %d, want 403: %s", route, name, a.status, a.body)
			case allowed && route == "GET /egress/audit/resource/{id}": // which is a WebSocket
				wantRefusal(t, a, api.ErrMalformed, "WebSocket")
			case allowed && route == "POST /egress/policies" && a.status == http.StatusConflict: // there is one since the first time
			case allowed && a.status/100 != 2 && a.status != http.StatusNotFound:
				t.Errorf("%s with %s: status %d, want success or 404: %s", route, name, a.status, a.body)
			}
			if !allowed {
				before++
			}
		}
	}
	denied := 0
	for cursor, more := "", true; more; more = cursor != "" {
		page := decode[struct {
			Events []api.Event
			Next   string `json:"next_cursor"`
		}](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?limit=1000&cursor="+cursor, ""))
		for _, e := range page.Events {
			if e.Outcome == api.OutcomeDenied {
				denied += int(e.Count)
			}
		}
		cursor = page.Next
	}
	if denied != before {
		t.Errorf("%d denied attempts are audited, want %d", denied, before)
	}
}

// A key that is restricted to a scope or a resource sees, changes and creates nothing else, on any route.
func TestRestrictedToScopeOrResource(t *testing.T) {
	for _, tt := range []struct{ name, restrictions string }{
		{"scope", `{"scopes":["workspace"]}`},
		{"resource", `{"resources":["sandbox:sb_other"]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
			o := own(t, s)
			key, _ := mint(t, s, s.TenantKey, tt.restrictions)
			before := state(t, s, o)
			for _, route := range s.Vault().Routes() {
				t.Run(route, func(t *testing.T) {
					method, path, body := o.request(t, route, false)
					a := ask(t, s, key, method, path, body)
					if found := o.mentions(a.body); found != nil {
						t.Errorf("the answer contains %v", found)
					}
					want := http.StatusNotFound // for ids
					switch {
					case route == "GET /egress/audit/resource/{id}":
						want = http.StatusBadRequest // it is a WebSocket
					case strings.HasSuffix(route, "/reveal"), route == "POST /egress/traffic", route == "POST /egress/policies", route == "PATCH /egress/policies",
						route == "POST /egress/allowlist", route == "POST /egress/secrets", route == "POST /egress/oauth/start":
						want = http.StatusForbidden
					case route == "GET /egress/audit/head", route == "GET /egress/audit/verify":
						want = http.StatusForbidden // they are about all events
					case tt.name == "resource" && (route == "POST /egress/bindings" || route == "POST /egress/resource-keys"):
						want = http.StatusForbidden
					case route == "POST /egress/keys", route == "POST /egress/resource-keys":
						want = http.StatusCreated
					case route == "GET /egress/oauth/status", strings.HasPrefix(route, "POST /egress/bindings"):
					case !strings.Contains(route, "{id}"):
						want = http.StatusOK
					}
					if a.status != want {
						t.Errorf("status %d, want %d: %s", a.status, want, a.body)
					}
					if method == "GET" && a.status == http.StatusOK && !strings.Contains(route, "keys") && !strings.HasSuffix(route, "providers") && items(t, a) != 0 {
						t.Errorf("items: %s", a.body)
					}
				})
			}
			after := state(t, s, o)
			for _, path := range []string{"/egress/resource-keys", "/egress/keys"} { // there are new ones
				delete(before, path)
				delete(after, path)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the state changed (-before +after):\n%s", diff)
			}
			// Within its restrictions it works, and what it creates it sees.
			scope := map[string]string{"scope": "workspace", "resource": "user"}[tt.name]
			a := ask(t, s, key, "POST", "/egress/secrets", `{"name":"mine","value":"v","scope":"`+scope+`","resource_type":"sandbox","resource_id":"sb_other","expose_as_env":"MINE"}`)
			if a.status != http.StatusCreated {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			for _, path := range []string{"/egress/secrets", "/egress/bindings", "/egress/audit?action=secret.create"} {
				if a := ask(t, s, key, "GET", path, ""); items(t, a) != 1 {
					t.Errorf("%s: %s", path, a.body)
				}
			}
			resourceKey := decode[struct{ Data api.IssuedKey }](t, ask(t, s, key, "POST", "/egress/resource-keys", `{"resource_type":"sandbox","resource_id":"sb_other"}`)).Data
			agent, err := api.ParseKey(resourceKey.Key)
			if err != nil {
				t.Fatal(err)
			}
			// The owner binds a secret of another scope to the same resource.
			s.Put(t, "of the owner", "s3cret-of-the-owner", api.Resource{Type: api.Sandbox, ID: "sb_other"}, "OWNERS")
			want := map[string]string{"MINE": "v"}
			if tt.name == "resource" {
				want["OWNERS"] = "s3cret-of-the-owner"
			}
			if diff := cmp.Diff(values(reveal(t, s, agent, api.Resource{Type: api.Sandbox, ID: "sb_other"})), want); diff != "" {
				t.Errorf("revealed with its resource key (-got +want)\n%s", diff)
			}
			if a := ask(t, s, agent, "GET", "/egress/bindings", ""); items(t, a) != len(want) {
				t.Errorf("bindings: %s", a.body)
			}
		})
	}
}

// A restricted key creates no key that may more than itself.
func TestAttack_KeyWithMorePermissions(t *testing.T) {
	s := vaulttest.Start(t)
	key, _ := mint(t, s, s.TenantKey, `{"permissions":["keys:write","secrets:read"],"scopes":["user","tenant"],"resources":["sandbox:sb_1","sandbox:sb_2"]}`)
	for _, tt := range []struct {
		name, path, body string
		want             int
	}{
		{"the same", "/egress/keys", `{"permissions":["secrets:read","keys:write"],"scopes":["tenant","user"],"resources":["sandbox:sb_2","sandbox:sb_1"]}`, 201},
		{"another permission", "/egress/keys", `{"permissions":["secrets:read","audit:read"]}`, 403},
		{"another scope", "/egress/keys", `{"scopes":["workspace"]}`, 403},
		{"another resource", "/egress/keys", `{"resources":["computer:sb_1"]}`, 403},
		{"a resource key of its resource", "/egress/resource-keys", `{"resource_type":"sandbox","resource_id":"sb_1"}`, 201},
		{"a resource key of another resource", "/egress/resource-keys", `{"resource_type":"sandbox","resource_id":"sb_3"}`, 403},
		{"a resource key of another scope", "/egress/resource-keys", `{"resource_type":"sandbox","resource_id":"sb_1","scopes":["workspace"]}`, 403},
		{"an empty list", "/egress/keys", `{"permissions":[]}`, 422},
		{"an unknown permission", "/egress/keys", `{"permissions":["all"]}`, 422},
		{"an unknown scope", "/egress/keys", `{"scopes":["all"]}`, 422},
		{"no resource", "/egress/keys", `{"resources":["sb_1"]}`, 422},
		{"no list", "/egress/keys", `{"permissions":"all"}`, 422},
		{"a long label", "/egress/keys", `{"label":"` + strings.Repeat("x", 257) + `"}`, 422},
		{"a tenant key with a resource", "/egress/keys", `{"resource_type":"sandbox","resource_id":"sb_1"}`, 422},
		{"a resource key with permissions", "/egress/resource-keys", `{"resource_type":"sandbox","resource_id":"sb_1","permissions":["keys:write"]}`, 422},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := ask(t, s, key, "POST", tt.path, tt.body); a.status != tt.want {
				t.Errorf("status %d, want %d: %s", a.status, tt.want, a.body)
			}
		})
	}
	// What is left out is inherited, over generations.
	child, _ := mint(t, s, key, `{"label":"child","scopes":["user"]}`)
	grandchild, id := mint(t, s, child, `{"label":"grandchild"}`)
	keys := decode[struct{ Keys []api.IssuedKey }](t, ask(t, s, grandchild, "GET", "/egress/keys", "")).Keys
	if len(keys) != 1 || keys[0].ID != id { // it sees itself, and nothing above it
		t.Fatalf("keys %+v", keys)
	}
	want := api.Restrictions{Permissions: []string{"keys:write", "secrets:read"}, Scopes: []string{"user"}, Resources: []string{"sandbox:sb_1", "sandbox:sb_2"}}
	if diff := cmp.Diff(keys[0].Restrictions, want); diff != "" {
		t.Errorf("restrictions of the grandchild (-got +want)\n%s", diff)
	}
}

// A key with the permission oauth only connects an account, over the whole flow, and reads nothing. One that is revoked, or
// whose parent was revoked with its children, does not.
func TestRestrictedKeyConnects(t *testing.T) {
	s := sdkVault(t)
	parent, parentID := mint(t, s, s.TenantKey, `{"permissions":["oauth","keys:write"],"scopes":["external_user"]}`)
	key, _ := mint(t, s, parent, `{"permissions":["oauth"]}`)
	connect := func(user string) (status string) {
		t.Helper()
		started := decode[api.OAuthStart](t, ask(t, s, key, "POST", "/egress/oauth/start", `{"provider":"acme","scope":"external_user","external_user_id":"`+user+`"}`))
		if user == "late" {
			ask(t, s, s.TenantKey, "DELETE", "/egress/keys/"+parentID+"?children=revoke", "")
		}
		ask(t, s, api.Key{}, "GET", "/egress/oauth/callback?code=c&state="+started.State, "")
		return decode[api.OAuthStatus](t, ask(t, s, s.TenantKey, "GET", "/egress/oauth/status?state="+started.State, "")).Status
	}
	for range 2 { // the second time it replaces the first
		if status := connect("u"); status != api.FlowCompleted {
			t.Fatalf("status %s", status)
		}
	}
	wantRefusal(t, ask(t, s, key, "POST", "/egress/oauth/start", `{"provider":"acme"}`), api.ErrDenied, "scope")
	wantRefusal(t, ask(t, s, key, "GET", "/egress/secrets", ""), api.ErrDenied, "secrets:read")
	if a := ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""); items(t, a) != 1 {
		t.Errorf("secrets: %s", a.body)
	}
	if status := connect("late"); status != api.FlowFailed {
		t.Errorf("a flow of a revoked key: status %s", status)
	}
}

// Over the API, a key with valid children is revoked only with a decision, and the error names them.
func TestRevokeOverTheAPI(t *testing.T) {
	s := vaulttest.Start(t)
	parent, parentID := mint(t, s, s.TenantKey, `{"label":"ci"}`)
	child, childID := mint(t, s, parent, `{"label":"deploy"}`)
	wantRefusal(t, ask(t, s, s.TenantKey, "DELETE", "/egress/keys/"+parentID, ""), api.ErrConflict, childID+" (deploy)")
	wantRefusal(t, ask(t, s, s.TenantKey, "DELETE", "/egress/resource-keys/"+parentID, ""), api.ErrNotFound, "")
	got := decode[api.RevokedKeys](t, ask(t, s, s.TenantKey, "DELETE", "/egress/keys/"+parentID+"?children=keep", ""))
	if len(got.Revoked) != 1 || got.Revoked[0].ID != parentID || len(got.Kept) != 1 || got.Kept[0].ID != childID {
		t.Errorf("answer %+v", got)
	}
	wantRefusal(t, ask(t, s, parent, "GET", "/egress/secrets", ""), api.ErrUnauthorized, "")
	// The child replaces itself; its successor is under it.
	a := ask(t, s, child, "POST", "/egress/keys/"+childID+"/replace", `{"grace_seconds":0,"expires_at":"2100-01-01T00:00:00Z"}`)
	successor := decode[struct{ Data api.IssuedKey }](t, a).Data
	if a.status != http.StatusCreated || successor.ParentID != childID || successor.Label != "deploy" || successor.ExpiresAt == nil {
		t.Errorf("status %d, successor %s under %s", a.status, successor.ID, successor.ParentID)
	}
	wantRefusal(t, ask(t, s, child, "GET", "/egress/secrets", ""), api.ErrUnauthorized, "")
	if a := ask(t, s, s.TenantKey, "DELETE", "/egress/keys/"+parentID+"?children=revoke", ""); len(decode[api.RevokedKeys](t, a).Revoked) != 1 {
		t.Errorf("answer %s", a.body)
	}
}

// A key learns what it may do, whatever that is.
func TestKeyDescribesItself(t *testing.T) {
	s := vaulttest.Start(t)
	key, id := mint(t, s, s.TenantKey, `{"label":"ci","permissions":["secrets:write"],"scopes":["user"],"expires_at":"2100-01-02T03:04:05Z"}`)
	got := decode[struct{ Data api.OwnKey }](t, ask(t, s, key, "GET", "/egress/keys/self", "")).Data
	if got.ID != id || got.Label != "ci" || got.Tenant != "test" || got.ParentID == "" || got.ExpiresAt == nil || got.Key != "" ||
		!slices.Equal(got.Permissions, []string{"secrets:write"}) || !slices.Equal(got.Scopes, []string{"user"}) {
		t.Errorf("got %+v", got)
	}
	got = decode[struct{ Data api.OwnKey }](t, ask(t, s, s.TenantKey, "GET", "/egress/keys/self", "")).Data
	if !got.Restrictions.None() || got.ID == id {
		t.Errorf("unrestricted: %+v", got)
	}
}

// The bodies of calls for keys, whose fields are optional, are optional.
func TestKeysWithoutBody(t *testing.T) {
	s := vaulttest.Start(t)
	for _, body := range []string{"", "{}"} {
		a := ask(t, s, s.TenantKey, "POST", "/egress/keys", body)
		if a.status != http.StatusCreated {
			t.Fatalf("create with %q: status %d: %s", body, a.status, a.body)
		}
		id := decode[struct{ Data api.IssuedKey }](t, a).Data.ID
		if a := ask(t, s, s.TenantKey, "POST", "/egress/keys/"+id+"/replace", body); a.status != http.StatusCreated {
			t.Errorf("replace with %q: status %d: %s", body, a.status, a.body)
		}
	}
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/resource-keys", ""), api.ErrInvalid, "resource_type")
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/bindings", ""), api.ErrMalformed, "")
}
