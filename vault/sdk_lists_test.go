package vault_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// attributions maps the fields that distinguish secrets of the same name to a differing value for each.
var attributions = map[string]string{
	"scope": "workspace", "workspace_id": "w_2", "owner_user_id": "o_2", "external_user_id": "xu_2",
	"external_workspace_id": "xw_2", "resource_id": "sb_2", "resource_type": "computer",
}

// attributed returns a body with all attributions, one of them changed.
func attributed(changed string) map[string]string {
	body := map[string]string{"name": "same", "value": "v", "type": "api_key", "scope": "user", "workspace_id": "w_1", "owner_user_id": "o_1",
		"external_user_id": "xu_1", "external_workspace_id": "xw_1", "resource_id": "sb_1", "resource_type": "sandbox"}
	if changed != "" {
		body[changed] = attributions[changed]
	}
	return body
}

// A difference in any attribution creates another secret; equality in all replaces. Each filter finds exactly its
// matches, alone and combined.
func TestSDKUpsertAndFilters(t *testing.T) {
	s := vaulttest.Start(t)
	ids := map[string]string{} // by the changed attribution; "": none
	for _, changed := range append([]string{""}, sortedKeys(attributions)...) {
		for version := int64(1); version <= 2; version++ {
			a := ask(t, s, s.TenantKey, "POST", "/egress/secrets", toJSON(t, attributed(changed)))
			got := decode[struct{ Data api.Secret }](t, a).Data
			if want := map[int64]int{1: 201, 2: 200}[version]; a.status != want || got.Version != version {
				t.Fatalf("%q: status %d, version %d; want %d, %d", changed, a.status, got.Version, want, version)
			}
			if id := ids[changed]; id != "" && id != got.ID {
				t.Errorf("%q: another secret", changed)
			}
			ids[changed] = got.ID
		}
	}
	ids["type"] = decode[struct{ Data api.Secret }](t, ask(t, s, s.TenantKey, "POST", "/egress/secrets",
		`{"name":"typed","value":"v","type":"bearer","scope":"tenant"}`)).Data.ID
	listed := func(query string) []string {
		t.Helper()
		a := ask(t, s, s.TenantKey, "GET", "/egress/secrets"+query, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", query, a.status, a.body)
		}
		var found []string
		for _, secret := range decode[struct{ Secrets []api.Secret }](t, a).Secrets {
			found = append(found, secret.ID)
		}
		slices.Sort(found)
		return found
	}
	sorted := func(list ...string) []string { slices.Sort(list); return list }
	if diff := cmp.Diff(listed(""), sorted(ids[""], ids["scope"], ids["workspace_id"], ids["owner_user_id"], ids["external_user_id"],
		ids["external_workspace_id"], ids["resource_id"], ids["resource_type"], ids["type"])); diff != "" {
		t.Errorf("all (-got +want)\n%s", diff)
	}
	for field, value := range attributions {
		t.Run(field, func(t *testing.T) {
			q := url.Values{field: {value}}
			if diff := cmp.Diff(listed("?"+q.Encode()), sorted(ids[field])); diff != "" {
				t.Errorf("%s (-got +want)\n%s", q, diff)
			}
			// Filtering by the common value finds the rest, without the secret that lacks the field.
			var rest []string
			for changed, id := range ids {
				if changed != field && changed != "type" {
					rest = append(rest, id)
				}
			}
			if diff := cmp.Diff(listed("?"+url.Values{field: {attributed("")[field]}}.Encode()), sorted(rest...)); diff != "" {
				t.Errorf("the others (-got +want)\n%s", diff)
			}
			all := url.Values{}
			for k, v := range attributed(field) {
				if k != "name" && k != "value" {
					all.Set(k, v)
				}
			}
			if diff := cmp.Diff(listed("?"+all.Encode()), sorted(ids[field])); diff != "" {
				t.Errorf("with every filter (-got +want)\n%s", diff)
			}
			for _, near := range []string{value + "x", value[:len(value)-1], strings.ToUpper(value), "%", value[:1] + "%"} {
				if got := listed("?" + url.Values{field: {near}}.Encode()); got != nil {
					t.Errorf("%q finds %d", near, len(got))
				}
			}
		})
	}
	t.Run("type", func(t *testing.T) {
		if diff := cmp.Diff(listed("?type=bearer"), []string{ids["type"]}); diff != "" {
			t.Errorf("(-got +want)\n%s", diff)
		}
	})
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Each filter of bindings finds exactly its matches.
func TestSDKBindingFilters(t *testing.T) {
	s := vaulttest.Start(t)
	secrets := map[string]string{} // id to name
	for _, name := range []string{"one", "two"} {
		secrets[name] = s.PutSecret(t, map[string]any{"name": name, "value": "v"})
	}
	for _, name := range []string{"one", "two"} {
		for _, r := range []api.Resource{{Type: "sandbox", ID: "r_1"}, {Type: "sandbox", ID: "r_2"}, {Type: "computer", ID: "r_1"}} {
			a := ask(t, s, s.TenantKey, "POST", "/egress/bindings", toJSON(t, map[string]string{"secret_id": secrets[name],
				"resource_type": r.Type, "resource_id": r.ID, "expose_as_env": strings.ToUpper(name)}))
			if a.status != http.StatusCreated {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
		}
	}
	for query, want := range map[string]int{
		"": 6, "?resource_type=sandbox": 4, "?resource_type=computer": 2, "?resource_id=r_1": 4, "?resource_id=r_2": 2,
		"?secret_id=" + secrets["one"]: 3, "?resource_type=sandbox&resource_id=r_1": 2,
		"?resource_type=computer&resource_id=r_1&secret_id=" + secrets["two"]: 1,
		"?resource_type=computer&resource_id=r_2":                             0, "?secret_id=sec_": 0, "?resource_id=r_": 0,
	} {
		list := decode[struct{ Bindings []api.Binding }](t, ask(t, s, s.TenantKey, "GET", "/egress/bindings"+query, "")).Bindings
		if len(list) != want {
			t.Errorf("%s: %d, want %d", query, len(list), want)
		}
		values, _ := url.ParseQuery(strings.TrimPrefix(query, "?"))
		for _, b := range list {
			for field, got := range map[string]string{"resource_type": b.Type, "resource_id": b.Resource.ID, "secret_id": b.SecretID} {
				if values.Has(field) && values.Get(field) != got {
					t.Errorf("%s: %s is %s", query, field, got)
				}
			}
		}
	}
}

// Each filter of the audit finds exactly its matches, in either order.
func TestSDKAuditFilters(t *testing.T) {
	s := vaulttest.Start(t)
	first := s.Put(t, "a", "v", sandbox, "A")
	s.Put(t, "b", "v", api.Resource{Type: "computer", ID: sandbox.ID}, "B")
	s.Put(t, "c", "v", other, "C")
	s.Rotate(t, first, "w")
	s.Delete(t, first)
	all := decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?limit=1000", "")).Events
	if len(all) != 9 { // the key, and two for each secret and its binding
		t.Fatalf("%d events", len(all))
	}
	middle := all[4].Timestamp
	at := url.QueryEscape(middle.Format(time.RFC3339Nano))
	for query, matches := range map[string]func(api.Event) bool{
		"resource_id=" + sandbox.ID:                           func(e api.Event) bool { return e.ResourceID == sandbox.ID },
		"resource_type=computer":                              func(e api.Event) bool { return e.ResourceType == "computer" },
		"resource_type=sandbox&resource_id=" + sandbox.ID:     func(e api.Event) bool { return e.ResourceType == "sandbox" && e.ResourceID == sandbox.ID },
		"action=secret.rotate":                                func(e api.Event) bool { return e.Action == "secret.rotate" },
		"action=secret.create&resource_type=computer":         func(e api.Event) bool { return e.Action == "secret.create" && e.ResourceType == "computer" },
		"action=secret":                                       func(api.Event) bool { return false },
		"since=" + at:                                         func(e api.Event) bool { return !e.Timestamp.Before(middle) },
		"until=" + at:                                         func(e api.Event) bool { return e.Timestamp.Before(middle) },
		"since=7d":                                            func(api.Event) bool { return true },
		"since=2h&until=1h":                                   func(api.Event) bool { return false },
		"since=" + at + "&until=" + at:                        func(api.Event) bool { return false },
		"since=2000-01-01T00:00:00%2B05:00&action=key.create": func(e api.Event) bool { return e.Action == "key.create" },
	} {
		want := []string{}
		for _, e := range all {
			if matches(e) {
				want = append(want, e.ID)
			}
		}
		if strings.Contains(query, "since=") {
			slices.Reverse(want)
		}
		got := []string{}
		cursor := ""
		for { // in pages of two
			page := decode[struct {
				Events []api.Event
				Next   string `json:"next_cursor"`
			}](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?limit=2&"+query+"&cursor="+url.QueryEscape(cursor), ""))
			for _, e := range page.Events {
				got = append(got, e.ID)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", query, diff)
		}
	}
	for _, query := range []string{"since=yesterday", "until=2026-01-01", "since=7", "since=-7d", "since=0d", "since=7y", "since=d", "until=1.5h", "since=99999999999999999999d", "limit=0", "limit=1001", "limit=x", "cursor=x"} {
		wantRefusal(t, ask(t, s, s.TenantKey, "GET", "/egress/audit?"+query, ""), api.ErrInvalid, "")
	}
}

// A reader of all pages gets every item that existed throughout, none twice, while others are created and deleted.
// For secrets and the audit.
func TestSDKPagesWhileOthersWrite(t *testing.T) {
	s := vaulttest.Start(t)
	const standing = 250
	existing := map[string]bool{}
	for i := range standing {
		existing[s.PutSecret(t, map[string]any{"name": fmt.Sprintf("standing %d", i), "value": "v"})] = true
	}
	var oldest []string // events, none of which is deleted
	for _, e := range decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?limit=1000", "")).Events {
		oldest = append(oldest, e.ID)
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	var writes [2]atomic.Int32
	for w := range writes {
		writing.Go(func() {
			var mine []string
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				body := fmt.Sprintf(`{"name":"passing %d %d","value":"v"}`, w, n)
				mine = append(mine, decode[struct{ Data api.Secret }](t, ask(t, s, s.TenantKey, "POST", "/egress/secrets", body)).Data.ID)
				if len(mine) > 5 {
					ask(t, s, s.TenantKey, "DELETE", "/egress/secrets/"+mine[n%len(mine)], "")
				}
				writes[w].Add(1)
			}
		})
	}
	read := func(path, list string, want []string) {
		t.Helper()
		seen := map[string]bool{}
		for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
			if pages > 1000 {
				t.Fatal("there is no end")
			}
			o := decode[map[string]any](t, ask(t, s, s.TenantKey, "GET", path+"&cursor="+url.QueryEscape(cursor), ""))
			cursor, _ = o["next_cursor"].(string)
			for _, item := range o[list].([]any) {
				id := item.(map[string]any)["id"].(string)
				if seen[id] {
					t.Errorf("%s: %s twice", path, id)
				}
				seen[id] = true
			}
		}
		for _, id := range want {
			if !seen[id] {
				t.Errorf("%s: %s missed", path, id)
			}
		}
	}
	for round := 0; round == 0 || writes[0].Load() < 3 || writes[1].Load() < 3; round++ {
		for _, limit := range []int{7, 20, 249, 250, 1000} {
			read(fmt.Sprintf("/egress/secrets?limit=%d", limit), "secrets", sortedKeys(existing))
		}
		read("/egress/audit?limit=100", "events", oldest)
	}
	close(stop)
	writing.Wait()
	// With since, a reader also gets every event written meanwhile.
	last := decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?limit=1000", "")).Events
	var all []string
	for _, e := range last {
		all = append(all, e.ID)
	}
	read("/egress/audit?limit=100&since=2000-01-01T00:00:00Z", "events", all)
}
