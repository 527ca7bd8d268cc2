package vault_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// owned holds one object of each kind, owned by the tenant "test".
type owned struct {
	secret, binding, keyID, event, state string
	policy, entry                        string
	key                                  api.Key // resource key of sandbox
}

func own(t *testing.T, s *vaulttest.Server) owned {
	t.Helper()
	var o owned
	o.secret = s.Put(t, "github", "s3cret-of-the-owner", sandbox, "GH_TOKEN")
	o.key, o.keyID = s.MintResourceKey(t, sandbox)
	bindings := decode[struct{ Bindings []api.Binding }](t, ask(t, s, s.TenantKey, "GET", "/egress/bindings", "")).Bindings
	events := decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit", "")).Events
	o.binding, o.event = bindings[0].ID, events[0].ID
	o.policy = decode[struct{ Data api.Policy }](t, ask(t, s, s.TenantKey, "POST", "/egress/policies",
		`{"name":"of the owner","resource_type":"sandbox","resource_id":"sb_0"}`)).Data.ID
	o.entry = decode[struct{ Data api.AllowlistEntry }](t, ask(t, s, s.TenantKey, "POST", "/egress/allowlist", `{"host":"owner.example.com"}`)).Data.ID
	o.state = decode[api.OAuthStart](t, ask(t, s, s.TenantKey, "POST", "/egress/oauth/start", `{"provider":"acme"}`)).State
	return o
}

// request returns the request that a caller who knows every id of the owner sends to a route.
func (o owned) request(t *testing.T, route string, unknown bool) (method, path, body string) {
	t.Helper()
	id := map[string]string{"secrets": o.secret, "bindings": o.binding, "resource-keys": o.keyID, "keys": o.keyID, "audit": o.event,
		"policies": o.policy, "allowlist": o.entry}
	if unknown {
		id = map[string]string{"secrets": "sec_x", "bindings": "bnd_x", "resource-keys": "key_x", "keys": "key_x", "audit": "evt_x",
			"policies": "pol_x", "allowlist": "rul_x"}
	}
	reveal, _ := revealOf(t, sandbox, "", 0)
	bodies := map[string]string{
		"POST /egress/secrets": `{"name":"github","value":"of another","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"GH_TOKEN"}`,
		"POST /egress/bindings": `{"secret_id":"` + id["secrets"] +
			`","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"STOLEN"}`,
		"PATCH /egress/secrets/{id}":        `{"value":"of another"}`,
		"POST /egress/resource-keys":        `{"resource_type":"sandbox","resource_id":"sb_1"}`,
		"POST /egress/bindings/reveal":      reveal,
		"GET /egress/bindings":              "",
		"GET /egress/secrets":               "",
		"GET /egress/resource-keys":         "",
		"GET /egress/audit":                 "",
		"GET /egress/audit/head":            "",
		"GET /egress/audit/verify":          "",
		"GET /egress/audit/suggestions":     "",
		"GET /egress/secrets/{id}":          "",
		"GET /egress/audit/{id}":            "",
		"DELETE /egress/secrets/{id}":       "",
		"PATCH /egress/bindings/{id}":       `{"egress":{"hosts":["evil.example.com"]}}`,
		"DELETE /egress/bindings/{id}":      "",
		"DELETE /egress/resource-keys/{id}": "",
		"POST /egress/keys":                 `{}`,
		"POST /egress/policies":             `{"name":"locked","resource_type":"sandbox","resource_id":"sb_1"}`,
		"GET /egress/policies":              "",
		"PATCH /egress/policies":            `{"mode":"enforce","resource_type":"sandbox","resource_id":"sb_1"}`,
		"GET /egress/policies/{id}":         "",
		"PATCH /egress/policies/{id}":       `{"mode":"audit_only"}`,
		"DELETE /egress/policies/{id}":      "",
		"POST /egress/allowlist":            `{"host":"api.example.com","resource_type":"sandbox","resource_id":"sb_1"}`,
		"GET /egress/allowlist":             "",
		"DELETE /egress/allowlist/{id}":     "",
		"GET /egress/audit/resource/{id}":   "",
		"POST /egress/traffic": `{"events":[{"id":"0123456789abcdef","occurred_at":"2026-01-02T03:04:05Z","resource_type":"sandbox","resource_id":"sb_1",` +
			`"host":"api.example.com","effect":"allow"}]}`,
		"GET /egress/keys":               "",
		"GET /egress/keys/self":          "",
		"DELETE /egress/keys":            "",
		"DELETE /egress/keys/{id}":       "",
		"POST /egress/keys/{id}/replace": `{}`,
		"GET /egress/oauth/providers":    "",
		"POST /egress/oauth/start":       `{"provider":"acme","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"ACME"}`,
		"GET /egress/oauth/status":       "",
	}
	body, ok := bodies[route]
	if !ok {
		t.Fatalf("%s is new: add its request here", route)
	}
	method, path, _ = strings.Cut(route, " ")
	if route == "GET /egress/oauth/status" {
		path += "?state=" + map[bool]string{false: o.state, true: "x"}[unknown]
	}
	if route == "DELETE /egress/keys" {
		path += "?issued_before=2100-01-01T00:00:00Z"
	}
	if strings.Contains(path, "{id}") {
		noun := strings.Split(path, "/")[2]
		path = strings.Replace(path, "{id}", id[noun], 1)
	}
	return method, path, body
}

// lastUsed matches what changes without a request.
var lastUsed = regexp.MustCompile(`"last_used_at":("[^"]*"|null)`)

// state returns everything visible to the owner's key, except the audit.
func state(t *testing.T, s *vaulttest.Server, o owned) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, path := range []string{"/egress/secrets", "/egress/bindings", "/egress/resource-keys", "/egress/keys", "/egress/policies", "/egress/allowlist"} {
		m[path] = lastUsed.ReplaceAllString(string(ask(t, s, s.TenantKey, "GET", path, "").body), "")
	}
	m["value"] = values(reveal(t, s, o.key, sandbox))["GH_TOKEN"]
	return m
}

// mentions returns the owner's ids that a body contains.
func (o owned) mentions(body []byte) (found []string) {
	for _, id := range []string{o.secret, o.binding, o.keyID, o.event, o.state, o.policy, o.entry, "owner.example.com", "s3cret-of-the-owner"} {
		if strings.Contains(string(body), id) {
			found = append(found, id)
		}
	}
	return found
}

// On every route, another tenant that knows every id gets the same response as for an unknown id, byte for byte
// including headers, and changes nothing.
func TestFault_V11_ForeignTenantOnEveryRoute(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	before := state(t, s, o)
	foreign := s.Tenant(t, "foreign")
	// The foreign tenant has a sandbox with the same id, and a key for it.
	minted := decode[struct{ Data api.IssuedKey }](t, ask(t, s, foreign, "POST", "/egress/resource-keys", toJSON(t, sandbox)))
	agent, err := api.ParseKey(minted.Data.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range s.Vault().Routes() {
		t.Run(route, func(t *testing.T) {
			method, path, body := o.request(t, route, false)
			key := foreign
			switch {
			case strings.HasSuffix(route, "/reveal"):
				key = agent
			case route == "DELETE /egress/keys": // it would revoke agent
				key = s.Tenant(t, "another")
			}
			a := ask(t, s, key, method, path, body, "X-Request-ID", "same")
			if found := o.mentions(a.body); found != nil {
				t.Errorf("the answer contains %v", found)
			}
			switch route {
			case "GET /egress/audit/resource/{id}": // of a resource of its own with this id
				wantRefusal(t, a, api.ErrMalformed, "WebSocket")
				return
			case "POST /egress/traffic":
				wantRefusal(t, a, api.ErrDenied, "broker")
				return
			}
			if !strings.Contains(route, "{id}") && route != "POST /egress/bindings" && route != "GET /egress/oauth/status" {
				if a.status/100 != 2 { // the foreign tenant's own, empty data
					t.Errorf("status %d: %s", a.status, a.body)
				}
				return
			}
			method, path, body = o.request(t, route, true)
			b := ask(t, s, key, method, path, body, "X-Request-ID", "same")
			wantRefusal(t, a, api.ErrNotFound, "")
			a.header.Del("Date")
			b.header.Del("Date")
			if diff := cmp.Diff(string(b.body), string(a.body)); diff != "" || a.status != b.status {
				t.Errorf("status %d, and %d of an unknown id; body (-unknown +foreign):\n%s", a.status, b.status, diff)
			}
			if diff := cmp.Diff(b.header, a.header); diff != "" {
				t.Errorf("header (-unknown +foreign):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(before, state(t, s, o)); diff != "" {
		t.Errorf("the owner's state changed (-before +after):\n%s", diff)
	}
	if got := values(reveal(t, s, agent, sandbox)); got["GH_TOKEN"] != "of another" || len(got) != 1 {
		t.Error("the two sandboxes with one id are not kept apart")
	}
}

// Lists that another tenant filters by the owner's ids contain nothing of the owner's, and nothing at all where
// the foreign tenant has no match. A cursor of the owner does not work in its lists.
func TestForeignTenantFilters(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	s.Put(t, "gitlab", "s3cret-of-the-owner", sandbox, "GL_TOKEN") // gives lists a second page
	foreign := s.Tenant(t, "foreign")
	for _, path := range []string{
		"/egress/secrets?resource_id=" + sandbox.ID,
		"/egress/secrets?resource_type=" + sandbox.Type,
		"/egress/secrets?resource_type=" + sandbox.Type + "&resource_id=" + sandbox.ID,
		"/egress/secrets?scope=user", "/egress/secrets?type=api_key",
		"/egress/bindings?secret_id=" + o.secret,
		"/egress/bindings?resource_id=" + sandbox.ID,
		"/egress/bindings?resource_type=" + sandbox.Type,
		"/egress/bindings?secret_id=" + o.secret + "&resource_type=" + sandbox.Type + "&resource_id=" + sandbox.ID,
		"/egress/resource-keys?resource_id=" + sandbox.ID,
		"/egress/resource-keys?resource_type=" + sandbox.Type,
		"/egress/keys?resource_id=" + sandbox.ID,
		"/egress/audit?resource_id=" + sandbox.ID,
		"/egress/audit?resource_type=" + sandbox.Type,
		"/egress/audit?resource_type=" + sandbox.Type + "&resource_id=" + sandbox.ID,
		"/egress/audit?action=secret.create", "/egress/audit?action=reveal",
		"/egress/audit?action=secret.create&since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z",
	} {
		t.Run(path, func(t *testing.T) {
			// The same filter must match for the owner, except that no reveals were made.
			if a := ask(t, s, s.TenantKey, "GET", path, ""); items(t, a) == 0 && !strings.HasSuffix(path, "=reveal") {
				t.Errorf("the owner gets nothing either: %s", a.body)
			}
			a := ask(t, s, foreign, "GET", path, "")
			if a.status != http.StatusOK || items(t, a) != 0 {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	for _, path := range []string{"/egress/secrets?limit=1", "/egress/audit?limit=1"} {
		t.Run("cursor "+path, func(t *testing.T) {
			page := decode[struct {
				Next string `json:"next_cursor"`
			}](t, ask(t, s, s.TenantKey, "GET", path, ""))
			if page.Next == "" {
				t.Fatal("the owner has one page only")
			}
			a := ask(t, s, foreign, "GET", path+"&cursor="+url.QueryEscape(page.Next), "")
			if found := o.mentions(a.body); found != nil || strings.Contains(string(a.body), "GL_TOKEN") {
				t.Errorf("the answer contains %v: %s", found, a.body)
			}
			if a.status == http.StatusOK && strings.HasPrefix(path, "/egress/secrets") && items(t, a) != 0 {
				t.Errorf("the foreign tenant has secrets: %s", a.body)
			}
		})
	}
}

// items counts the items of a list response.
func items(t *testing.T, a answer) (n int) {
	t.Helper()
	for _, v := range decode[map[string]any](t, a) {
		if list, ok := v.([]any); ok {
			n += len(list)
		}
	}
	return n
}

// A key of another resource of the same tenant gets 403 on every route except the list of bindings, which shows
// its own resource, and the description of itself.
func TestForeignResourceOnEveryRoute(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	before := state(t, s, o)
	key := s.ResourceKey(t, other)
	for _, path := range []string{"/egress/resource-keys", "/egress/keys"} {
		before[path] = lastUsed.ReplaceAllString(string(ask(t, s, s.TenantKey, "GET", path, "").body), "")
	}
	for _, route := range s.Vault().Routes() {
		t.Run(route, func(t *testing.T) {
			method, path, body := o.request(t, route, false)
			a := ask(t, s, key, method, path, body)
			if found := o.mentions(a.body); found != nil {
				t.Errorf("the answer contains %v", found)
			}
			switch route {
			case "GET /egress/bindings":
			case "GET /egress/keys/self":
				if own := decode[struct{ Data api.OwnKey }](t, a).Data; own.Resource != other || own.Tenant != "" || own.Key != "" {
					t.Errorf("itself: %+v", own)
				}
				return
			default:
				wantRefusal(t, a, api.ErrDenied, "")
				return
			}
			if a.status != http.StatusOK || string(a.body) != "{\"bindings\":[]}\n" {
				t.Errorf("status %d: %s", a.status, a.body)
			}
			for _, query := range []string{"?resource_id=sb_1", "?resource_type=computer", "?resource_type=sandbox&resource_id=sb_1"} {
				wantRefusal(t, ask(t, s, key, method, path+query, ""), api.ErrDenied, "another resource")
			}
			if a := ask(t, s, key, method, path+"?secret_id="+o.secret, ""); a.status != http.StatusOK || o.mentions(a.body) != nil {
				t.Errorf("by secret: status %d: %s", a.status, a.body)
			}
		})
	}
	if diff := cmp.Diff(before, state(t, s, o)); diff != "" {
		t.Errorf("the owner's state changed (-before +after):\n%s", diff)
	}
	// Each attempt is audited as denied, with the key that made it.
	denied := int64(0)
	events := decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?limit=1000", "")).Events
	for _, e := range events {
		if e.Outcome == api.OutcomeDenied {
			denied += e.Count
		}
	}
	if want := int64(len(s.Vault().Routes()) - 2 + 3); denied != want {
		t.Errorf("%d denied attempts in the audit, want %d", denied, want)
	}
}

// A resource key can reveal and list its bindings, and describe itself, and nothing else.
func TestWhatResourceKeysDo(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	before := state(t, s, o)
	for _, route := range s.Vault().Routes() {
		t.Run(route, func(t *testing.T) {
			method, path, body := o.request(t, route, false)
			a := ask(t, s, o.key, method, path, body)
			if route == "GET /egress/bindings" || route == "POST /egress/bindings/reveal" || route == "GET /egress/keys/self" {
				if a.status != http.StatusOK {
					t.Errorf("status %d: %s", a.status, a.body)
				}
				return
			}
			wantRefusal(t, a, api.ErrDenied, "resource key")
		})
	}
	if diff := cmp.Diff(before, state(t, s, o)); diff != "" {
		t.Errorf("the state changed (-before +after):\n%s", diff)
	}
}

// No route answers to a key that has ended in the database, and that this process still takes for valid: another one has revoked it a
// moment ago.
func TestAttack_EndedKeyOnEveryRoute(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	type request struct{ name, method, path, body string }
	requests := []request{
		{"another provider", "POST", "/egress/oauth/start", `{"provider":"none"}`},
		{"no provider", "POST", "/egress/oauth/start", `{}`},
		{"a client's token", "POST", "/egress/secrets", // which would be requested
			`{"name":"m","type":"oauth_machine","value":"s","metadata":{"oauth":{"token_url":"https://localhost:1/token","client_id":"m"}}}`},
	}
	for _, route := range s.Vault().Routes() {
		if method, path, body := o.request(t, route, false); route != "GET /egress/audit/resource/{id}" { // which is a WebSocket
			requests = append(requests, request{route, method, path, body})
		}
	}
	for _, r := range requests {
		t.Run(r.name, func(t *testing.T) {
			key, id := mint(t, s, s.TenantKey, "{}")
			if a := ask(t, s, key, "GET", "/egress/keys/self", ""); a.status != http.StatusOK {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			end := func(tx database.Tx) error { return tx.Exec(`DELETE FROM api_keys WHERE id = $1`, id) }
			if err := s.Vault().Store().DB().Write(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, ask(t, s, key, r.method, r.path, r.body), api.ErrUnauthorized, "")
		})
	}
}

// Every route requires a key.
func TestNoKeyOnEveryRoute(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	o := own(t, s)
	for _, route := range s.Vault().Routes() {
		t.Run(route, func(t *testing.T) {
			method, path, body := o.request(t, route, false)
			wantRefusal(t, ask(t, s, api.Key{}, method, path, body), api.ErrUnauthorized, "a key is required")
			wantRefusal(t, ask(t, s, api.NewKey(api.TenantKeyPrefix), method, path, body), api.ErrUnauthorized, "unknown")
		})
	}
}
