package vault_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var (
	sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}
	other   = api.Resource{Type: api.Sandbox, ID: "sb_2"}
)

// answer is the response to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends body unchanged. path is relative to the base URL or, with a leading "//", to the server's root.
func ask(t testing.TB, s *vaulttest.Server, key api.Key, method, path, body string, header ...string) answer {
	t.Helper()
	url := s.BaseURL + path
	if root, ok := strings.CutPrefix(path, "//"); ok {
		url = strings.TrimSuffix(s.BaseURL, "api/v1") + root
	}
	return send(t, key, method, url, body, header...)
}

// send is ask for any URL.
func send(t testing.TB, key api.Key, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key.Len() > 0 {
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, text}
}

// decode decodes a JSON response.
func decode[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("status %d, not JSON (%v): %q", a.status, err, a.body)
	}
	return v
}

// toJSON encodes a request body.
func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// revealOf returns the body of a reveal request and the opener for its response.
func revealOf(t testing.TB, r api.Resource, etag string, wait int) (string, *api.Opener) {
	t.Helper()
	opener, err := api.NewOpener(r)
	if err != nil {
		t.Fatal(err)
	}
	ask := opener.Request()
	ask.Etag, ask.WaitSeconds = etag, wait
	return toJSON(t, ask), opener
}

// reveal requests a set without waiting and opens it.
func reveal(t testing.TB, s *vaulttest.Server, key api.Key, r api.Resource) api.Snapshot {
	t.Helper()
	body, opener := revealOf(t, r, "", 0)
	a := ask(t, s, key, "POST", "/egress/bindings/reveal", body)
	if a.status != http.StatusOK {
		t.Fatalf("reveal: status %d: %s", a.status, a.body)
	}
	snapshot, err := opener.Open(decode[api.RevealAnswer](t, a))
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// values maps the names of a snapshot to their values.
func values(s api.Snapshot) map[string]string {
	m := map[string]string{}
	for _, b := range s.Bound {
		m[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return m
}

// shape returns the keys of a body with the JSON type of each value, two levels deep.
func shape(t testing.TB, a answer) map[string]string {
	t.Helper()
	kind := func(v any) string {
		switch v.(type) {
		case map[string]any:
			return "object"
		case []any:
			return "list"
		case string:
			return "string"
		case float64:
			return "number"
		case bool:
			return "bool"
		}
		return "null"
	}
	m := map[string]string{}
	for k, v := range decode[map[string]any](t, a) {
		m[k] = kind(v)
	}
	return m
}

// acmeProvider configures a provider that gets no requests.
const acmeProvider = `
[[provider]]
name = "acme"
display_name = "Acme"
authorize_url = "https://id.acme.example/authorize"
token_url = "https://id.acme.example/token"
client_id = "miosa"
client_auth = "none"
scopes = ["read"]
`

// Every route answers in the envelope that the SDKs read.
func TestEnvelopes(t *testing.T) {
	s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
	secretKeys := []string{"created_at", "expires_at", "external_user_id", "external_workspace_id", "id", "masked_value", "metadata",
		"name", "owner_user_id", "preview", "resource_id", "resource_type", "scope", "type", "updated_at", "version", "workspace_id"}
	bindingKeys := []string{"created_at", "delivery", "expose_as_env", "id", "placeholder_token", "resource_id", "resource_type",
		"secret_id", "secret_name", "updated_at", "version"}
	keyKeys := []string{"created_at", "expires_at", "id", "label", "last_used_at", "parent_id", "permissions", "resource_id", "resource_type", "resources",
		"revoked_at", "scopes"}
	policyKeys := []string{"created_at", "default_effect", "description", "id", "mode", "name", "resource_id", "resource_type", "updated_at"}
	entryKeys := []string{"created_at", "effect", "host", "id", "methods", "note", "path_glob", "policy_id", "resource_id", "resource_type"}
	ids := map[string]string{"audit": "sb_1"} // ids created by earlier steps
	asked := map[string]bool{}
	resourceKey := s.ResourceKey(t, sandbox)
	broker, _ := brokerKey(t, s, sandbox.String())
	revealBody, _ := revealOf(t, sandbox, "", 0)
	for _, c := range []struct {
		name   string
		route  string
		key    api.Key
		query  string
		body   string
		status int
		shape  map[string]string
		list   string   // key of a list whose first object is checked instead of data
		keys   []string // keys of the object
		keep   string   // name under which to keep the object's id
	}{
		{"create", "POST /egress/secrets", s.TenantKey, "", `{"name":"a","value":"v"}`, 201,
			map[string]string{"data": "object", "binding": "null"}, "", secretKeys, "other"},
		{"create and bind", "POST /egress/secrets", s.TenantKey, "",
			`{"name":"b","value":"v","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"B"}`, 201,
			map[string]string{"data": "object", "binding": "object"}, "", secretKeys, "secrets"},
		{"replace", "POST /egress/secrets", s.TenantKey, "", `{"name":"a","value":"w","unknown":[{}]}`, 200,
			map[string]string{"data": "object", "binding": "null"}, "", secretKeys, ""},
		{"list", "GET /egress/secrets", s.TenantKey, "", "", 200, map[string]string{"secrets": "list"}, "secrets", secretKeys, ""},
		{"a page", "GET /egress/secrets", s.TenantKey, "?limit=1", "", 200,
			map[string]string{"secrets": "list", "next_cursor": "string"}, "secrets", secretKeys, ""},
		{"none", "GET /egress/secrets", s.TenantKey, "?scope=tenant", "", 200, map[string]string{"secrets": "list"}, "", nil, ""},
		{"one", "GET /egress/secrets/{id}", s.TenantKey, "", "", 200, map[string]string{"data": "object"}, "", secretKeys, ""},
		{"rotate", "PATCH /egress/secrets/{id}", s.TenantKey, "", `{"value":"x"}`, 200, map[string]string{"data": "object"}, "", secretKeys, ""},
		{"bind", "POST /egress/bindings", s.TenantKey, "", `{"secret_id":"OTHER","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"A"}`,
			201, map[string]string{"data": "object"}, "", bindingKeys, "bindings"},
		{"bind again", "POST /egress/bindings", s.TenantKey, "", `{"secret_id":"OTHER","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"A"}`,
			200, map[string]string{"data": "object"}, "", bindingKeys, ""},
		{"list bindings", "GET /egress/bindings", s.TenantKey, "", "", 200, map[string]string{"bindings": "list"}, "bindings", bindingKeys, ""},
		{"list bindings as the resource", "GET /egress/bindings", resourceKey, "", "", 200,
			map[string]string{"bindings": "list"}, "bindings", bindingKeys, ""},
		{"reveal", "POST /egress/bindings/reveal", resourceKey, "", revealBody, 200,
			map[string]string{"etag": "string", "suite": "string", "sealed": "string"}, "", nil, ""},
		{"report", "POST /egress/traffic", broker, "", `{"events":[` + request("1", sandbox, "a.example.com") + `]}`, 200,
			map[string]string{"data": "object"}, "", []string{"recorded", "known"}, ""},
		{"set a policy", "PATCH /egress/policies", s.TenantKey, "", `{"mode":"enforce"}`, 200, map[string]string{"data": "object"}, "", policyKeys, ""},
		{"create a policy", "POST /egress/policies", s.TenantKey, "", `{"name":"n","resource_type":"sandbox","resource_id":"sb_1"}`, 201,
			map[string]string{"data": "object"}, "", policyKeys, "policies"},
		{"change a policy", "PATCH /egress/policies/{id}", s.TenantKey, "", `{"mode":"audit_only"}`, 200, map[string]string{"data": "object"}, "", policyKeys, ""},
		{"a policy", "GET /egress/policies/{id}", s.TenantKey, "", "", 200, map[string]string{"data": "object"}, "", policyKeys, ""},
		{"policies", "GET /egress/policies", s.TenantKey, "", "", 200, map[string]string{"policies": "list"}, "policies", policyKeys, ""},
		{"allow", "POST /egress/allowlist", s.TenantKey, "", `{"host":"a.example.com"}`, 201, map[string]string{"data": "object"}, "", entryKeys, "allowlist"},
		{"allow again", "POST /egress/allowlist", s.TenantKey, "", `{"host":"a.example.com"}`, 200, map[string]string{"data": "object"}, "", entryKeys, ""},
		{"rules", "GET /egress/allowlist", s.TenantKey, "", "", 200, map[string]string{"rules": "list"}, "rules", entryKeys, ""},
		{"remove a rule", "DELETE /egress/allowlist/{id}", s.TenantKey, "", "", 200, map[string]string{"ok": "bool"}, "", nil, ""},
		{"delete a policy", "DELETE /egress/policies/{id}", s.TenantKey, "", "", 200, map[string]string{"ok": "bool"}, "", nil, ""},
		{"follow without a WebSocket", "GET /egress/audit/resource/{id}", s.TenantKey, "", "", 400,
			map[string]string{"error": "string", "message": "string", "code": "string", "request_id": "string"}, "", nil, ""},
		{"narrow a binding's rule", "PATCH /egress/bindings/{id}", s.TenantKey, "", `{"egress":{"hosts":["a.example.com"]}}`, 200,
			map[string]string{"data": "object"}, "", append([]string{"egress"}, bindingKeys...), ""},
		{"unbind", "DELETE /egress/bindings/{id}", s.TenantKey, "", "", 200, map[string]string{"ok": "bool"}, "", nil, ""},
		{"mint", "POST /egress/resource-keys", s.TenantKey, "", `{"resource_type":"sandbox","resource_id":"sb_1","expires_at":"2100-01-01T00:00:00Z"}`,
			201, map[string]string{"data": "object"}, "", append([]string{"key"}, keyKeys...), "resource-keys"},
		{"list keys", "GET /egress/resource-keys", s.TenantKey, "?resource_id=sb_1", "", 200,
			map[string]string{"resource_keys": "list"}, "resource_keys", keyKeys, ""},
		{"revoke", "DELETE /egress/resource-keys/{id}", s.TenantKey, "", "", 200, map[string]string{"ok": "bool"}, "", nil, ""},
		{"mint for the tenant", "POST /egress/keys", s.TenantKey, "", `{"label":"ci","permissions":["secrets:read"]}`,
			201, map[string]string{"data": "object"}, "", append([]string{"key"}, keyKeys...), "keys"},
		{"list all keys", "GET /egress/keys", s.TenantKey, "", "", 200, map[string]string{"keys": "list"}, "keys", keyKeys, ""},
		{"replace a key", "POST /egress/keys/{id}/replace", s.TenantKey, "", `{"grace_seconds":60}`, 201, map[string]string{"data": "object"}, "", append([]string{"key"}, keyKeys...), ""},
		{"revoke any key", "DELETE /egress/keys/{id}", s.TenantKey, "", "", 200, map[string]string{"ok": "bool", "revoked": "list", "kept": "list"}, "revoked", keyKeys, ""},
		{"revoke older keys", "DELETE /egress/keys", s.TenantKey, "?issued_before=2100-01-01T00:00:00Z", "", 200,
			map[string]string{"ok": "bool", "revoked": "list", "kept": "list"}, "revoked", keyKeys, ""},
		{"delete", "DELETE /egress/secrets/{id}", s.TenantKey, "", "", 200, map[string]string{"ok": "bool"}, "", nil, ""},
		{"providers", "GET /egress/oauth/providers", s.TenantKey, "", "", 200, map[string]string{"providers": "list"}, "providers",
			[]string{"name", "display_name", "scopes"}, ""},
		{"start", "POST /egress/oauth/start", s.TenantKey, "", `{"provider":"acme"}`, 200,
			map[string]string{"authorize_url": "string", "state": "string", "provider": "string", "expires_at": "string"}, "", nil, ""},
		{"status", "GET /egress/oauth/status", s.TenantKey, "?state=STATE", "", 200,
			map[string]string{"status": "string", "provider": "string", "expires_at": "string"}, "", nil, ""},
		{"audit", "GET /egress/audit", s.TenantKey, "?action=secret.rotate", "", 200, map[string]string{"events": "list"}, "events",
			[]string{"action", "id", "key_id", "outcome", "remote_addr", "request_id", "secret_id", "tenant_id", "timestamp", "inserted_at", "seq", "hash", "version", "resource_id", "resource_type"}, "audit"},
		{"an event", "GET /egress/audit/{id}", s.TenantKey, "", "", 200, map[string]string{"data": "object"}, "",
			[]string{"action", "id", "key_id", "outcome", "remote_addr", "request_id", "secret_id", "tenant_id", "timestamp", "inserted_at", "seq", "hash", "version", "resource_id", "resource_type"}, ""},
		{"head", "GET /egress/audit/head", s.TenantKey, "", "", 200, map[string]string{"data": "object"}, "",
			[]string{"tenant_id", "seq", "hash", "event_id", "count"}, ""},
		{"own key", "GET /egress/keys/self", s.TenantKey, "", "", 200, map[string]string{"data": "object"}, "", append([]string{"tenant"}, keyKeys...), ""},
		{"verify", "GET /egress/audit/verify", s.TenantKey, "", "", 200, map[string]string{"data": "object"}, "",
			[]string{"checked", "seq", "complete", "problem"}, ""},
		{"suggestions", "GET /egress/audit/suggestions", s.TenantKey, "?resource_id=sb_1&since=7d", "", 200, map[string]string{"suggestions": "list"}, "", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked[c.route] = true
			method, path, _ := strings.Cut(c.route, " ")
			noun := strings.Split(path, "/")[2]
			path = strings.Replace(path, "{id}", ids[noun], 1) + strings.Replace(c.query, "STATE", ids["state"], 1)
			a := ask(t, s, c.key, method, path, strings.Replace(c.body, "OTHER", ids["other"], 1))
			if a.status != c.status {
				t.Fatalf("status %d, want %d: %s", a.status, c.status, a.body)
			}
			if diff := cmp.Diff(c.shape, shape(t, a)); diff != "" {
				t.Errorf("envelope (-want +got):\n%s", diff)
			}
			if started := decode[api.OAuthStart](t, a); started.State != "" {
				ids["state"] = started.State
			}
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if a.header.Get("X-Request-ID") == "" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("header: %v", a.header)
			}
			if c.keys == nil {
				return
			}
			object, _ := decode[map[string]any](t, a)["data"].(map[string]any)
			if c.list != "" {
				items, _ := decode[map[string]any](t, a)[c.list].([]any)
				if len(items) == 0 {
					t.Fatal("an empty list")
				}
				object, _ = items[0].(map[string]any)
			}
			want := slices.Sorted(slices.Values(c.keys))
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(object))); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
			if c.keep != "" {
				ids[c.keep], _ = object["id"].(string)
			}
		})
	}
	for _, route := range s.Vault().Routes() {
		if !asked[route] {
			t.Errorf("%s isn't in this table", route)
		}
	}
}

// Every refusal has the documented status and code, and a message.
func TestRefusals(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "a", "v", sandbox, "A")
	resourceKey := s.ResourceKey(t, sandbox)
	revoked, keyID := s.MintResourceKey(t, sandbox)
	s.Revoke(t, keyID)
	good, _ := revealOf(t, sandbox, "", 0)
	edit := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("no %q in a reveal", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	malformed, err := api.ParseKey("msk_u_0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		key          api.Key
		method, path string
		body         string
		want         *api.Kind
		message      string // substring of the message
	}{
		{"no key", api.Key{}, "GET", "/egress/secrets", "", api.ErrUnauthorized, "a key is required"},
		{"unknown key", malformed, "GET", "/egress/secrets", "", api.ErrUnauthorized, "unknown"},
		{"revoked key", revoked, "GET", "/egress/bindings", "", api.ErrUnauthorized, "revoked"},
		{"no such path", s.TenantKey, "GET", "/egress/nothing", "", api.ErrNotFound, "/api/v1"},
		{"outside the base path", s.TenantKey, "GET", "//egress/secrets", "", api.ErrNotFound, "/api/v1"},
		{"beside the root", api.Key{}, "GET", "//index", "", api.ErrNotFound, "/api/v1"},
		{"a doubled slash", s.TenantKey, "GET", "/egress//secrets", "", api.ErrNotFound, "/api/v1"},
		{"dots", s.TenantKey, "GET", "/egress/x/../secrets", "", api.ErrNotFound, "/api/v1"},
		{"a slash at the end", s.TenantKey, "GET", "/egress/secrets/", "", api.ErrNotFound, "/api/v1"},
		{"wrong method", s.TenantKey, "PUT", "/egress/secrets", "{}", api.ErrMethod, "GET, HEAD, POST"},
		{"wrong method without a key", api.Key{}, "DELETE", "//healthz", "", api.ErrMethod, "GET, HEAD"},
		{"an unknown method", s.TenantKey, "FETCH", "/egress/secrets/" + id, "", api.ErrMethod, "DELETE, GET, HEAD, PATCH"},
		{"reveal by GET", resourceKey, "GET", "/egress/bindings/reveal", "", api.ErrMethod, "DELETE, PATCH, POST"},

		{"broken JSON", s.TenantKey, "POST", "/egress/secrets", `{"name":`, api.ErrMalformed, "not JSON"},
		{"a wrong type", s.TenantKey, "POST", "/egress/secrets", `{"name":1,"value":"v"}`, api.ErrInvalid, "name must be a string"},
		{"no name", s.TenantKey, "POST", "/egress/secrets", `{"value":"v"}`, api.ErrInvalid, "name is required"},
		{"no value", s.TenantKey, "POST", "/egress/secrets", `{"name":"a"}`, api.ErrInvalid, "value is required"},
		{"NUL in a value", s.TenantKey, "POST", "/egress/secrets", `{"name":"a","value":"a\u0000"}`, api.ErrInvalid, "NUL"},
		{"a wrong scope", s.TenantKey, "POST", "/egress/secrets", `{"name":"a","value":"v","scope":"x"}`, api.ErrInvalid, "scope"},
		{"half a resource", s.TenantKey, "POST", "/egress/secrets", `{"name":"a","value":"v","resource_id":"sb_1"}`, api.ErrInvalid, "resource_type"},
		{"a name that isn't one", s.TenantKey, "POST", "/egress/secrets",
			`{"name":"a","value":"v","resource_id":"sb_1","resource_type":"sandbox","expose_as_env":"A-B"}`, api.ErrInvalid, "expose_as_env"},
		{"a name that is taken", s.TenantKey, "POST", "/egress/secrets",
			`{"name":"z","value":"v","resource_id":"sb_1","resource_type":"sandbox","expose_as_env":"A"}`, api.ErrConflict, "expose_as_env"},
		{"limit 0", s.TenantKey, "GET", "/egress/secrets?limit=0", "", api.ErrInvalid, "limit"},
		{"limit over 1000", s.TenantKey, "GET", "/egress/secrets?limit=1001", "", api.ErrInvalid, "limit"},
		{"limit a word", s.TenantKey, "GET", "/egress/audit?limit=all", "", api.ErrInvalid, "limit"},
		{"a made-up cursor", s.TenantKey, "GET", "/egress/secrets?cursor=zzz", "", api.ErrInvalid, "cursor"},
		{"since a word", s.TenantKey, "GET", "/egress/audit?since=yesterday", "", api.ErrInvalid, "since"},
		{"a broken query", s.TenantKey, "GET", "/egress/secrets?scope=%zz", "", api.ErrMalformed, "query"},
		{"rotate nothing", s.TenantKey, "PATCH", "/egress/secrets/" + id, `{}`, api.ErrInvalid, "value is required"},
		{"rotate what isn't there", s.TenantKey, "PATCH", "/egress/secrets/sec_x", `{"value":"v"}`, api.ErrNotFound, "no such secret"},
		{"bind nothing", s.TenantKey, "POST", "/egress/bindings", `{}`, api.ErrInvalid, "secret_id is required"},
		{"bind an unknown secret", s.TenantKey, "POST", "/egress/bindings",
			`{"secret_id":"sec_x","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"Z"}`, api.ErrNotFound, "no such secret"},
		{"a key for nothing", s.TenantKey, "POST", "/egress/resource-keys", `{}`, api.ErrInvalid, "resource_type is required"},
		{"a key that has ended", s.TenantKey, "POST", "/egress/resource-keys",
			`{"resource_type":"sandbox","resource_id":"sb_1","expires_at":"2001-01-01T00:00:00Z"}`, api.ErrInvalid, "expires_at"},
		{"revoke older keys than nothing", s.TenantKey, "DELETE", "/egress/keys", "", api.ErrInvalid, "issued_before is required"},
		{"revoke older keys than a word", s.TenantKey, "DELETE", "/egress/keys?issued_before=monday", "", api.ErrInvalid, "issued_before must be a time"},
		{"revoke with a word", s.TenantKey, "DELETE", "/egress/keys/key_x?children=all", "", api.ErrInvalid, "children must be revoke or keep"},
		{"replace with a negative grace", s.TenantKey, "POST", "/egress/keys/key_x/replace", `{"grace_seconds":-1}`, api.ErrInvalid, "grace_seconds must be"},
		{"replace with an endless grace", s.TenantKey, "POST", "/egress/keys/key_x/replace", `{"grace_seconds":9223372036854775807}`, api.ErrInvalid, "grace_seconds must be"},
		{"replace an unknown key", s.TenantKey, "POST", "/egress/keys/key_x/replace", `{}`, api.ErrNotFound, "no such key"},

		{"reveal with a tenant key", s.TenantKey, "POST", "/egress/bindings/reveal", good, api.ErrDenied, "tenant key"},
		{"reveal nothing with a tenant key", s.TenantKey, "POST", "/egress/bindings/reveal", "", api.ErrDenied, "tenant key"},
		{"reveal of another resource", resourceKey, "POST", "/egress/bindings/reveal", edit("sb_1", "sb_2"), api.ErrDenied, "another resource"},
		{"reveal of another type", resourceKey, "POST", "/egress/bindings/reveal", edit("sandbox", "computer"), api.ErrDenied, "another resource"},
		{"unknown suite", resourceKey, "POST", "/egress/bindings/reveal", edit("mlkem768-x25519", "x25519"), api.ErrInvalid, "recipient.suite"},
		{"no suite", resourceKey, "POST", "/egress/bindings/reveal", `{"version":2,"resource_type":"sandbox","resource_id":"sb_1"}`, api.ErrInvalid, "recipient.suite"},
		{"a key that isn't one", resourceKey, "POST", "/egress/bindings/reveal",
			`{"version":2,"resource_type":"sandbox","resource_id":"sb_1","recipient":{"suite":"mlkem768-x25519","public_key":"AAAA"}}`, api.ErrInvalid, "recipient.public_key"},
		{"a key not in base64", resourceKey, "POST", "/egress/bindings/reveal",
			`{"version":2,"resource_type":"sandbox","resource_id":"sb_1","recipient":{"suite":"mlkem768-x25519","public_key":"*"}}`, api.ErrInvalid, "recipient.public_key"},
		{"an earlier version", resourceKey, "POST", "/egress/bindings/reveal", edit(`"version":2,`, ``), api.ErrInvalid, "version must be 2"},
		{"a wait too long", resourceKey, "POST", "/egress/bindings/reveal", edit(`"recipient"`, `"wait_seconds":61,"recipient"`), api.ErrInvalid, "wait_seconds"},
		{"a wait below 0", resourceKey, "POST", "/egress/bindings/reveal", edit(`"recipient"`, `"wait_seconds":-1,"recipient"`), api.ErrInvalid, "wait_seconds"},
		{"no resource", resourceKey, "POST", "/egress/bindings/reveal", `{}`, api.ErrInvalid, "resource_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantRefusal(t, ask(t, s, c.key, c.method, c.path, c.body), c.want, c.message)
		})
	}
}

// wantRefusal checks the status and body of a refusal, and that header and body agree.
func wantRefusal(t testing.TB, a answer, want *api.Kind, message string) {
	t.Helper()
	if a.status != want.Status {
		t.Fatalf("status %d, want %d: %s", a.status, want.Status, a.body)
	}
	body := decode[map[string]any](t, a)
	sentence, _ := body["error"].(string)
	if body["code"] != want.Code || !strings.Contains(sentence, message) {
		t.Errorf("%v, want code %s and %q in the message", body, want.Code, message)
	}
	if id := body["request_id"]; id == "" || id != a.header.Get("X-Request-ID") {
		t.Errorf("request_id %v, X-Request-ID %q", id, a.header.Get("X-Request-ID"))
	}
	retry, again := body["retry_after"].(float64)
	if temporary := want == api.ErrRateLimited || want == api.ErrUnavailable; temporary != again {
		t.Errorf("retry_after given: %v", again)
	} else if again && (retry < 1 || a.header.Get("Retry-After") != toJSON(t, int(retry))) {
		t.Errorf("retry_after %v, Retry-After %q", retry, a.header.Get("Retry-After"))
	}
	if want == api.ErrMethod && a.header.Get("Allow") != message {
		t.Errorf("Allow %q, want %q", a.header.Get("Allow"), message)
	}
	if want == api.ErrUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate")
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestRequestID(t *testing.T) {
	s := vaulttest.Start(t)
	for _, c := range []struct {
		name, sent string
		kept       bool
	}{
		{"none", "", false},
		{"one of ours", "req_abc-1.2:3", true},
		{"longest", strings.Repeat("a", 128), true},
		{"too long", strings.Repeat("a", 129), false},
		{"spaces", "a b", false},
		{"markup", "<script>", false},
		{"not ASCII", "é", false},
		{"a key by mistake", s.TenantKey.Reveal(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(t, s, s.TenantKey, "GET", "/egress/secrets", "", "X-Request-ID", c.sent)
			got := a.header.Get("X-Request-ID")
			if kept := got == c.sent && got != ""; kept != c.kept || got == "" {
				t.Errorf("answered %q", got)
			}
		})
	}
}

func TestHealthAndReadiness(t *testing.T) {
	s := vaulttest.Start(t)
	for _, path := range []string{"//healthz", "//readyz", "//metrics"} {
		if a := ask(t, s, api.Key{}, "GET", path, ""); a.status != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, a.status, a.body)
		}
	}
}
