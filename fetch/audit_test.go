package fetch_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
)

// audited reads all pages for a filter and returns the actions in order.
func audited(t *testing.T, c *fetch.Client, f fetch.AuditFilter) (actions []string, pages int) {
	t.Helper()
	actions = []string{}
	for {
		events, next, err := c.Audit(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, e := range events {
			actions = append(actions, e.Action)
		}
		if f.Cursor = next; next == "" || pages > 100 {
			return actions, pages
		}
	}
}

func TestRealAudit(t *testing.T) {
	v := vaulttest.Start(t)
	_, tenant := clients(t, v)
	before := time.Now()
	id := v.Put(t, "token", "first", sandbox, "TOKEN")
	v.Rotate(t, id, "second")
	v.Delete(t, id)
	v.PutSecret(t, map[string]any{"name": "other", "value": "x"})
	after := time.Now().Add(time.Second)
	newest := []string{"secret.create", "secret.delete", "secret.rotate", "binding.create", "secret.create", "key.create"}
	for _, tt := range []struct {
		name   string
		filter fetch.AuditFilter
		want   []string
		pages  int
	}{
		{"all", fetch.AuditFilter{}, append(newest[:6:6], "key.create"), 1}, // the tenant's own key
		{"in pages", fetch.AuditFilter{Limit: 3}, append(newest[:6:6], "key.create"), 3},
		{"by action", fetch.AuditFilter{Action: "secret.rotate"}, []string{"secret.rotate"}, 1},
		{"by resource", fetch.AuditFilter{Resource: sandbox, Action: "binding.create"}, []string{"binding.create"}, 1},
		{"of another resource", fetch.AuditFilter{Resource: api.Resource{Type: api.Sandbox, ID: "sb_2"}}, []string{}, 1},
		{"oldest first, in pages", fetch.AuditFilter{Since: &before, Limit: 2},
			[]string{"secret.create", "binding.create", "secret.rotate", "secret.delete", "secret.create"}, 3},
		{"since a day ago, oldest first", fetch.AuditFilter{SinceAgo: "1d", Action: "secret.create"}, []string{"secret.create", "secret.create"}, 1},
		{"until a week ago", fetch.AuditFilter{UntilAgo: "1w"}, []string{}, 1},
		{"until", fetch.AuditFilter{Until: &before}, []string{"key.create", "key.create"}, 1},
		{"since later", fetch.AuditFilter{Since: &after}, []string{}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, pages := audited(t, tenant, tt.filter)
			if diff := cmp.Diff(got, tt.want); diff != "" || pages != tt.pages {
				t.Errorf("%d pages, want %d; actions (-got +want):\n%s", pages, tt.pages, diff)
			}
		})
	}
	events, _, err := tenant.Audit(t.Context(), fetch.AuditFilter{Action: "secret.rotate"})
	if err != nil || len(events) != 1 || events[0].SecretID != id || events[0].Version != 2 || events[0].Outcome != api.OutcomeOK {
		t.Fatalf("error %v, events %+v", err, events)
	}
	got, err := tenant.AuditEvent(t.Context(), events[0].ID)
	if diff := cmp.Diff(got, events[0]); err != nil || diff != "" {
		t.Errorf("error %v, event (-got +want):\n%s", err, diff)
	}
	for name, want := range map[string]*api.Kind{"evt_x": api.ErrNotFound, "..": api.ErrInvalid, "": api.ErrInvalid} {
		if _, err := tenant.AuditEvent(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("event %q: error %v, want %v", name, err, want)
		}
	}
	for name, f := range map[string]fetch.AuditFilter{"limit": {Limit: 1001}, "cursor": {Cursor: "x"}} {
		if _, _, err := tenant.Audit(t.Context(), f); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("a bad %s: error %v, want %v", name, err, api.ErrInvalid)
		}
	}
}

// Absolute times are sent as times and relative ones as durations, because the vault evaluates them. Events of
// other resources and actions are removed from the response.
func TestAuditOfAnotherVault(t *testing.T) {
	var asked string
	now := time.Now().UTC().Truncate(time.Second)
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("since") + " " + r.URL.Query().Get("until")
		events := []map[string]any{}
		for days := range 10 {
			events = append(events, map[string]any{"id": days, "action": "allowed", "inserted_at": now.AddDate(0, 0, -days), "resource_id": "sb_1", "resource_type": "sandbox"})
		}
		answerJSON(w, 200, map[string]any{"data": append(events, map[string]any{"id": "none"})})
	})
	c := client(t, vault.URL)
	since, until := now.AddDate(0, 0, -5), now.AddDate(0, 0, -3)
	for _, tt := range []struct {
		name   string
		filter fetch.AuditFilter
		asked  string
		events int
	}{
		{"all", fetch.AuditFilter{}, " ", 11},
		{"times", fetch.AuditFilter{Since: &since, Until: &until}, since.Format(time.RFC3339) + " " + until.Format(time.RFC3339), 11},
		{"how long ago", fetch.AuditFilter{SinceAgo: "5d", UntilAgo: "60h"}, "5d 60h", 11},
		{"a time before how long ago", fetch.AuditFilter{Since: &since, SinceAgo: "1d"}, since.Format(time.RFC3339) + " ", 11},
		{"another resource", fetch.AuditFilter{Resource: api.Resource{Type: api.Sandbox, ID: "sb_2"}}, " ", 1},
		{"another action", fetch.AuditFilter{Action: "denied"}, " ", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events, _, err := c.Audit(t.Context(), tt.filter)
			if err != nil || len(events) != tt.events || asked != tt.asked {
				t.Errorf("error %v, %d events and asked for %q, want %d and %q", err, len(events), asked, tt.events, tt.asked)
			}
		})
	}
}

func TestEnvelopesOfPages(t *testing.T) {
	const items = `[{"id":"evt_1"}]`
	for _, tt := range []struct {
		name, body, next string
		refused          bool
	}{
		{"events", `{"events":` + items + `,"next_cursor":"c"}`, "c", false},
		{"in data", `{"data":{"events":` + items + `,"next_cursor":"c"}}`, "c", false},
		{"beside data", `{"data":{"events":` + items + `},"next_cursor":"c"}`, "c", false},
		{"a list under data", `{"data":` + items + `,"next_cursor":"c"}`, "c", false},
		{"audit", `{"audit":` + items + `}`, "", false},
		{"items", `{"items":` + items + `,"next_cursor":null}`, "", false},
		{"bare", " " + items, "", false},
		{"the last", `{"events":` + items + `}`, "", false},
		{"a cursor that isn't text", `{"events":` + items + `,"next_cursor":7}`, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events, next, err := client(t, serveBody(t, tt.body).URL).Audit(t.Context(), fetch.AuditFilter{})
			if problem, ok := errors.AsType[*fetch.Problem](err); (ok && problem.Reason == fetch.BadAnswer) != tt.refused {
				t.Fatalf("error %v", err)
			}
			if !tt.refused && (err != nil || len(events) != 1 || events[0].ID != "evt_1" || next != tt.next) {
				t.Errorf("error %v, events %+v, next %q, want %q", err, events, next, tt.next)
			}
		})
	}
}

// Secrets that exceed the size limit of one response are all listed.
func TestRealSecretsPastTheLimitOfAnAnswer(t *testing.T) {
	v := vaulttest.Start(t)
	_, tenant := clients(t, v)
	const count = 145 // of 60 KiB each: more than the limit of 8 MiB
	note := strings.Repeat("x", 60<<10)
	want := []string{}
	for range count { // in the order of the list, oldest first
		want = append(want, v.PutSecret(t, map[string]any{"name": "s" + strconv.Itoa(len(want)), "value": "v", "metadata": map[string]string{"note": note}}))
	}
	all, err := tenant.Secrets(t.Context(), fetch.SecretFilter{})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, s := range all {
		got = append(got, s.ID)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("secrets (-got +want):\n%s", diff)
	}
	page, next, err := tenant.SecretPage(t.Context(), fetch.SecretFilter{Scope: "user"}, 2, "")
	if err != nil || len(page) != 2 || next == "" {
		t.Fatalf("error %v, %d secrets, next %q", err, len(page), next)
	}
	if page, _, err = tenant.SecretPage(t.Context(), fetch.SecretFilter{Scope: "user"}, 1, next); err != nil || len(page) != 1 || page[0].ID != want[2] {
		t.Errorf("the next page: error %v, %d secrets", err, len(page))
	}
}

func TestSecretsOfAVaultThatPagesUnasked(t *testing.T) {
	for _, tt := range []struct {
		name string
		next []string // cursors, one per response
		want int      // number of secrets; -1: refused
	}{
		{"one answer", []string{""}, 1},
		{"three answers", []string{"a", "b", ""}, 3},
		{"the same cursor again", []string{"a", "a", ""}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if want := append([]string{""}, tt.next...)[n-1]; r.URL.Query().Get("cursor") != want || r.URL.Query().Has("limit") {
					t.Errorf("request %d asks for %s, want cursor %q and no limit", n, r.URL.RawQuery, want)
				}
				answerJSON(w, 200, map[string]any{"secrets": []api.Secret{{ID: "sec_1"}}, "next_cursor": tt.next[n-1]})
			})
			all, err := client(t, vault.URL).Secrets(t.Context(), fetch.SecretFilter{})
			if problem, ok := errors.AsType[*fetch.Problem](err); ok != (tt.want < 0) || ok && problem.Reason != fetch.BadAnswer {
				t.Fatalf("error %v", err)
			}
			if tt.want >= 0 && len(all) != tt.want {
				t.Errorf("%d secrets, want %d", len(all), tt.want)
			}
		})
	}
}
