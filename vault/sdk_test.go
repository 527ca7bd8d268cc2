package vault_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// senders build bodies: SDKs omit fields that were not given, other callers send them empty.
var senders = []struct {
	name string
	fill func(body map[string]any, optional []string)
}{
	{"what was given", func(map[string]any, []string) {}},
	{"the rest empty", func(body map[string]any, optional []string) {
		for _, k := range optional {
			if _, given := body[k]; !given {
				body[k] = ""
			}
		}
	}},
	{"the rest null", func(body map[string]any, optional []string) {
		for _, k := range optional {
			if _, given := body[k]; !given {
				body[k] = nil
			}
		}
	}},
}

// Fields that may be omitted from a body or sent as an empty string.
var (
	secretOptions = []string{"workspace_id", "owner_user_id", "external_user_id", "external_workspace_id", "resource_id", "resource_type",
		"refresh_token", "expires_at", "expose_as_env"}
	oauthOptions = []string{"expose_as_env", "scope", "owner_user_id", "external_user_id", "external_workspace_id", "resource_id",
		"resource_type", "redirect_uri"}
)

// sdkVault starts a vault with an OAuth provider that accepts everyone.
func sdkVault(t *testing.T) *vaulttest.Server {
	t.Helper()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"at-of-the-provider","token_type":"bearer","expires_in":3600,"refresh_token":"rt"}`)
	}))
	t.Cleanup(provider.Close)
	return vaulttest.Start(t, vaulttest.WithOAuth(t, "public_url='https://vault.example'\nany_browser=true\n[[provider]]\nname='acme'\ndisplay_name='Acme'\nauthorize_url='"+
		provider.URL+"/authorize'\ntoken_url='"+provider.URL+"/token'\nclient_id='miosa'\nclient_auth='none'\nscopes=['read']\n"))
}

// Every call of the public API, as the SDKs send it and with empty fields, is answered in a shape that each SDK
// reads.
func TestSDKsReadEveryCall(t *testing.T) {
	for _, sender := range senders {
		t.Run(sender.name, func(t *testing.T) {
			s := sdkVault(t)
			ids := map[string]string{}
			fill := func(body map[string]any, optional []string) map[string]any {
				sender.fill(body, optional)
				return body
			}
			secret := func(name, value string, more ...string) map[string]any {
				body := map[string]any{"name": name, "value": value, "type": "api_key", "scope": "user"}
				for i := 0; i < len(more); i += 2 {
					body[more[i]] = more[i+1]
				}
				return fill(body, secretOptions)
			}
			on := []string{"resource_id", "sb_1", "resource_type", "sandbox", "expose_as_env", "B"}
			called := map[string]bool{}
			for _, c := range []struct {
				name   string
				method string
				path   string // $NAME stands for an id
				body   map[string]any
				status int
				object map[string]any // expected fields
				list   string
				count  int
				keep   string // name under which to keep the object's id or state
			}{
				{"put", "POST", "/egress/secrets", secret("a", "0123456789abcdef0123456789abcdef"), 201,
					map[string]any{"name": "a", "type": "api_key", "scope": "user", "resource_id": nil, "expires_at": nil, "masked_value": "012345...cdef", "preview": "012345...cdef"}, "", 0, "a"},
				{"put again", "POST", "/egress/secrets", secret("a", "short"), 200, map[string]any{"id": "$a", "masked_value": "********", "version": 2.0}, "", 0, ""},
				{"put bound", "POST", "/egress/secrets", secret("b", "v", on...), 201, map[string]any{"resource_id": "sb_1", "resource_type": "sandbox"}, "", 0, "b"},
				{"list", "GET", "/egress/secrets", nil, 200, nil, "secrets", 2, ""},
				{"list some", "GET", "/egress/secrets?resource_id=sb_1&resource_type=sandbox&scope=user&type=api_key", nil, 200, nil, "secrets", 1, ""},
				{"list with empty filters", "GET", "/egress/secrets?resource_id=&scope=&workspace_id=", nil, 200, nil, "secrets", 2, ""},
				{"list none", "GET", "/egress/secrets?owner_user_id=nobody", nil, 200, nil, "secrets", 0, ""},
				{"list a page", "GET", "/egress/secrets?limit=1", nil, 200, nil, "secrets", 1, ""},
				{"get", "GET", "/egress/secrets/$a", nil, 200, map[string]any{"id": "$a", "name": "a"}, "", 0, ""},
				{"rotate", "PATCH", "/egress/secrets/$a", map[string]any{"value": "new"}, 200, map[string]any{"id": "$a", "version": 3.0}, "", 0, ""},
				{"rotate with all", "PATCH", "/egress/secrets/$a", map[string]any{"value": "new", "refresh_token": "r", "expires_at": "2100-01-02T03:04:05Z"}, 200,
					map[string]any{"version": 4.0, "expires_at": "2100-01-02T03:04:05Z"}, "", 0, ""},
				{"bind", "POST", "/egress/bindings", map[string]any{"secret_id": "$a", "resource_id": "sb_1", "resource_type": "sandbox", "expose_as_env": "A"}, 201,
					map[string]any{"secret_id": "$a", "resource_id": "sb_1", "resource_type": "sandbox", "expose_as_env": "A"}, "", 0, "bound"},
				{"bind again", "POST", "/egress/bindings", map[string]any{"secret_id": "$a", "resource_id": "sb_1", "resource_type": "sandbox", "expose_as_env": "A"}, 200,
					map[string]any{"id": "$bound"}, "", 0, ""},
				{"list bindings", "GET", "/egress/bindings?resource_id=sb_1&resource_type=sandbox", nil, 200, nil, "bindings", 2, ""},
				{"list no bindings", "GET", "/egress/bindings?secret_id=none", nil, 200, nil, "bindings", 0, ""},
				{"narrow a rule", "PATCH", "/egress/bindings/$bound", map[string]any{"egress": map[string]any{"hosts": []string{"api.example.com"}}}, 200,
					map[string]any{"id": "$bound"}, "", 0, ""},
				{"unbind", "DELETE", "/egress/bindings/$bound", nil, 200, map[string]any{"ok": true}, "", 0, ""},
				{"providers", "GET", "/egress/oauth/providers", nil, 200, nil, "providers", 1, ""},
				{"connect", "POST", "/egress/oauth/start", fill(map[string]any{"provider": "acme"}, oauthOptions), 200, map[string]any{"provider": "acme"}, "", 0, "flow"},
				{"connect with all", "POST", "/egress/oauth/start", map[string]any{"provider": "acme", "scope": "external_user", "external_user_id": "u", "owner_user_id": "o",
					"external_workspace_id": "w", "resource_id": "sb_2", "resource_type": "sandbox", "expose_as_env": "ACME"}, 200, map[string]any{"provider": "acme"}, "", 0, ""},
				{"pending", "GET", "/egress/oauth/status?state=$flow", nil, 200, map[string]any{"status": "pending"}, "", 0, ""},
				{"audit", "GET", "/egress/audit", nil, 200, nil, "events", 10, ""},
				{"an event", "GET", "/egress/audit/$event", nil, 200, map[string]any{"id": "$event"}, "", 0, ""},
				{"suggestions", "GET", "/egress/audit/suggestions?resource_id=sb_1&resource_type=sandbox&since=7d", nil, 200, nil, "suggestions", 0, ""},
				{"delete", "DELETE", "/egress/secrets/$a", nil, 200, map[string]any{"ok": true}, "", 0, ""},
			} {
				t.Run(c.name, func(t *testing.T) {
					if c.name == "an event" {
						ids["event"] = decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit", "")).Events[0].ID
					}
					named := func(text string) string {
						for _, name := range slices.SortedFunc(maps.Keys(ids), func(a, b string) int { return len(b) - len(a) }) {
							text = strings.ReplaceAll(text, "$"+name, ids[name])
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
					for _, sdk := range sdks {
						t.Run(sdk.name, func(t *testing.T) {
							if c.list == "events" { // no SDK reads these
								if n := items(t, a); n < c.count {
									t.Errorf("%d events", n)
								}
								return
							}
							if c.list != "" {
								list, err := sdk.list(a.body, c.list)
								if err != nil || len(list) != c.count {
									t.Fatalf("%d items, want %d: %v\n%s", len(list), c.count, err, a.body)
								}
								for _, item := range list {
									o, err := asObject(item)
									if err != nil || o["id"] == nil && o["name"] == nil {
										t.Errorf("%v: %v", o, err)
									}
									wantTexts(t, o)
								}
								return
							}
							o, err := sdk.object(a.body)
							if err != nil {
								t.Fatalf("%v\n%s", err, a.body)
							}
							wantTexts(t, o)
							for k, want := range c.object {
								if text, ok := want.(string); ok {
									want = named(text)
								}
								if diff := cmp.Diff(o[k], want); diff != "" {
									t.Errorf("%s (-got +want)\n%s", k, diff)
								}
							}
							if id, ok := o["id"].(string); ok && c.keep != "" {
								ids[c.keep] = id
							}
							if state, ok := o["state"].(string); ok {
								if link, err := url.Parse(o["authorize_url"].(string)); err != nil || link.Query().Get("state") != state {
									t.Errorf("the link has no state: %v", err)
								}
								if _, err := time.Parse(time.RFC3339, o["expires_at"].(string)); err != nil {
									t.Error(err)
								}
								if c.keep != "" {
									ids[c.keep] = state
								}
							}
						})
					}
				})
			}
			for _, route := range s.Vault().Routes() {
				// The SDKs do not use the agent API.
				if !called[route] && !strings.Contains(route, "/resource-keys") && !strings.Contains(route, "/egress/keys") && !strings.HasSuffix(route, "/reveal") &&
					!strings.HasSuffix(route, "/head") && !strings.HasSuffix(route, "/verify") && !strings.HasSuffix(route, "/traffic") && !ofNetwork(route) {
					t.Errorf("%s isn't in this table", route)
				}
			}
		})
	}
}

// routeOf returns the route of a path that contains an id.
func routeOf(path string) string {
	parts := strings.Split(path, "/")
	if last := len(parts) - 1; strings.HasPrefix(parts[last], "$") {
		parts[last] = "{id}"
	}
	return strings.Join(parts, "/")
}

// SDKs that poll a flow's status, or like Go's the provider's secrets, recognize each way a flow ends.
func TestSDKsFollowAFlow(t *testing.T) {
	s := sdkVault(t)
	callback := func(q url.Values) {
		t.Helper()
		if a := ask(t, s, api.Key{}, "GET", "/egress/oauth/callback?"+q.Encode(), ""); a.status != http.StatusOK {
			t.Fatalf("callback: status %d", a.status)
		}
	}
	// A flow's state as an SDK sees it: done, failed with a message, or pending.
	flowState := func(o map[string]any) (done bool, failure string) {
		switch o["status"] {
		case "completed", "ready", "succeeded":
			return true, ""
		case "failed", "error", "denied":
			for _, k := range []string{"error", "message"} {
				if text, ok := o[k].(string); ok && text != "" {
					return false, text
				}
			}
			return false, "no text"
		}
		return false, ""
	}
	for _, tt := range []struct {
		name    string
		end     func(state string)
		done    bool
		failure string
	}{
		{"pending", func(string) {}, false, ""},
		{"completed", func(state string) { callback(url.Values{"state": {state}, "code": {"c"}}) }, true, ""},
		{"denied", func(state string) { callback(url.Values{"state": {state}, "error": {"access_denied"}}) }, false, "access_denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var started api.OAuthStart
			body := toJSON(t, map[string]string{"provider": "acme", "owner_user_id": tt.name, "resource_id": "sb_" + tt.name, "resource_type": "sandbox", "expose_as_env": "ACME"})
			if err := json.Unmarshal(ask(t, s, s.TenantKey, "POST", "/egress/oauth/start", body).body, &started); err != nil {
				t.Fatal(err)
			}
			tt.end(started.State)
			a := ask(t, s, s.TenantKey, "GET", "/egress/oauth/status?state="+url.QueryEscape(started.State), "")
			for _, sdk := range sdks {
				o, err := sdk.object(a.body)
				if err != nil {
					t.Fatalf("%s: %v", sdk.name, err)
				}
				wantTexts(t, o)
				if done, failure := flowState(o); done != tt.done || failure != tt.failure {
					t.Errorf("%s: done %v, over %q\n%s", sdk.name, done, failure, a.body)
				}
			}
			list, err := goList(ask(t, s, s.TenantKey, "GET", "/egress/secrets?owner_user_id="+tt.name, "").body, "secrets")
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(list, func(item any) bool {
				o, _ := item.(map[string]any)
				return o["type"] == "oauth_connect" && o["oauth_provider"] == "acme"
			})
			if found != tt.done {
				t.Errorf("found among the secrets: %v", found)
			}
		})
	}
}

// Every SDK can read each kind of error.
func TestSDKsReadErrors(t *testing.T) {
	s := sdkVault(t)
	id := s.Put(t, "a", "v", sandbox, "A")
	for _, c := range []struct {
		method, path, body string
		key                api.Key
		want               *api.Kind
	}{
		{"POST", "/egress/secrets", `{"name":`, s.TenantKey, api.ErrMalformed},
		{"GET", "/egress/secrets", "", api.NewKey(api.TenantKeyPrefix), api.ErrUnauthorized},
		{"GET", "/egress/secrets", "", api.Key{}, api.ErrUnauthorized},
		{"GET", "/egress/secrets", "", s.ResourceKey(t, sandbox), api.ErrDenied},
		{"GET", "/egress/secrets/sec_none", "", s.TenantKey, api.ErrNotFound},
		{"GET", "/egress/no/such/path", "", s.TenantKey, api.ErrNotFound},
		{"POST", "/egress/bindings", `{"secret_id":"sec_none","resource_id":"sb_1","resource_type":"sandbox","expose_as_env":"X"}`, s.TenantKey, api.ErrNotFound},
		{"POST", "/egress/secrets", `{"name":"b","value":"v","resource_id":"sb_1","resource_type":"sandbox","expose_as_env":"A"}`, s.TenantKey, api.ErrConflict},
		{"POST", "/egress/bindings", `{"pad":"` + strings.Repeat("x", 70<<10) + `"}`, s.TenantKey, api.ErrTooLarge},
		{"POST", "/egress/secrets", `{"name":"b"}`, s.TenantKey, api.ErrInvalid},
		{"PATCH", "/egress/secrets/" + id, `{}`, s.TenantKey, api.ErrInvalid},
		{"POST", "/egress/bindings", `{}`, s.TenantKey, api.ErrInvalid},
		{"POST", "/egress/oauth/start", `{"provider":"nobody"}`, s.TenantKey, api.ErrInvalid},
		{"POST", "/egress/oauth/start", `{}`, s.TenantKey, api.ErrInvalid},
		{"GET", "/egress/oauth/status?state=none", "", s.TenantKey, api.ErrNotFound},
	} {
		t.Run(c.want.Code+" "+c.method+" "+c.path, func(t *testing.T) { wantSDKError(t, ask(t, s, c.key, c.method, c.path, c.body), c.want) })
	}
	t.Run("METHOD_NOT_ALLOWED", func(t *testing.T) {
		wantRefusal(t, ask(t, s, s.TenantKey, "PUT", "/egress/secrets", "{}"), api.ErrMethod, "GET, HEAD, POST")
	})
	t.Run("RATE_LIMITED", func(t *testing.T) {
		vaulttest.OneVault(t, "limits are each vault's")
		s := vaulttest.Start(t, func(c *vault.Config) { c.Limits[limit.KeyRequests], c.Limits[limit.KeyBurst] = 0.1, 1 })
		ask(t, s, s.TenantKey, "GET", "/egress/secrets", "")
		wantSDKError(t, ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""), api.ErrRateLimited)
	})
	t.Run("UNAVAILABLE", func(t *testing.T) {
		vaulttest.OneVault(t, "it closes the store of one vault")
		s := vaulttest.Start(t)
		if err := s.Vault().Store().Close(); err != nil {
			t.Fatal(err)
		}
		wantSDKError(t, ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""), api.ErrUnavailable)
	})
}
