package vault_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// A reveal that cannot be audited is refused and counted. Reveals work again once they can be audited.
func TestFault_V10_RevealWithoutAudit(t *testing.T) {
	vaulttest.OneVault(t, "it opens the database's file")
	s := vaulttest.Start(t)
	id := s.Put(t, "a", "1", sandbox, "A")
	key := s.ResourceKey(t, sandbox)
	etag := reveal(t, s, key, sandbox).Etag
	db := openDatabase(t, s)
	run := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	w := hold(t, s, key, sandbox, etag, 60)
	block, unblock := blockAudit("NEW.action = 'reveal'", false)
	run(block)
	body, _ := revealOf(t, sandbox, "", 0)
	wantRefusal(t, ask(t, s, key, "POST", "/egress/bindings/reveal", body), api.ErrUnavailable, "audit")
	s.Rotate(t, id, "2") // wakes the waiting reveal, which is refused as well
	wantRefusal(t, w.ends(t, http.StatusServiceUnavailable), api.ErrUnavailable, "audit")
	if n := metric(t, s, "miosa_vault_audit_failures_total"); n != 2 {
		t.Errorf("%d audit failures counted, want 2", n)
	}
	run(unblock)
	if got := values(reveal(t, s, key, sandbox)); got["A"] != "2" {
		t.Error("not the latest value")
	}
}

// Every reveal is audited before it is answered, with what it contained and which key got it.
func TestRevealIsAudited(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "a", "1", sandbox, "A")
	key, keyID := s.MintResourceKey(t, sandbox)
	body, _ := revealOf(t, sandbox, "", 0)
	a := ask(t, s, key, "POST", "/egress/bindings/reveal", body, "X-Request-ID", "mine")
	if a.status != http.StatusOK {
		t.Fatalf("status %d", a.status)
	}
	events := decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?action=reveal", "")).Events
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	e := events[0]
	if e.KeyID != keyID || e.RequestID != "mine" || e.RemoteAddr != "127.0.0.1" || e.Outcome != api.OutcomeOK ||
		e.ResourceID != sandbox.ID || len(e.Bindings) != 1 || e.Bindings[0].SecretID != id || e.Bindings[0].Version != 1 {
		t.Errorf("got %+v", e)
	}
}

func TestNotReady(t *testing.T) {
	vaulttest.OneVault(t, "it damages the database of SQLite")
	s := vaulttest.Start(t)
	if err := s.Vault().Store().Close(); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, ask(t, s, api.Key{}, "GET", "//readyz", ""), api.ErrUnavailable, "")
	wantRefusal(t, ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""), api.ErrUnavailable, "")
	if a := ask(t, s, api.Key{}, "GET", "//healthz", ""); a.status != http.StatusOK {
		t.Errorf("healthz: status %d", a.status)
	}
}

// Metrics have routes and statuses as labels, and contain no id, name or key.
func TestMetrics(t *testing.T) {
	vaulttest.OneVault(t, "metrics are each vault's")
	s := vaulttest.Start(t)
	id := s.Put(t, "the-name", "1", sandbox, "THE_VARIABLE")
	key := s.ResourceKey(t, sandbox)
	reveal(t, s, key, sandbox)
	ask(t, s, s.TenantKey, "GET", "/egress/secrets/"+id, "")
	ask(t, s, s.TenantKey, "GET", "/egress/secrets/sec_x", "")
	ask(t, s, s.TenantKey, "GET", "/no/such/path", "")
	text := string(ask(t, s, api.Key{}, "GET", "//metrics", "").body)
	for _, want := range []string{
		`miosa_vault_requests_total{route="GET /egress/secrets/{id}",status="200"} 1`,
		`miosa_vault_requests_total{route="GET /egress/secrets/{id}",status="404"} 1`,
		`miosa_vault_requests_total{route="POST /egress/bindings/reveal",status="200"} 1`,
		`miosa_vault_requests_total{route="none",status="404"} 1`,
		`miosa_vault_request_seconds_count{route="POST /egress/bindings/reveal"} 1`,
		`miosa_vault_waiting_reveals 0`,
		`miosa_vault_audit_failures_total 0`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{id, "the-name", "THE_VARIABLE", sandbox.ID, key.Reveal(), s.TenantKey.Reveal(), "/no/such"} {
		if strings.Contains(text, never) {
			t.Errorf("%s is there", never)
		}
	}
}

// The filters beside those of TestSDKAuditFilters. A secret's events include the reveals that gave it.
func TestAuditFilters(t *testing.T) {
	s := vaulttest.Start(t)
	a := s.PutSecret(t, map[string]any{"name": "a", "value": "v", "scope": "external_user", "external_user_id": "u_1", "external_workspace_id": "w_1",
		"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "A"})
	b := s.Put(t, "b", "v", other, "B")
	key, keyID := s.MintResourceKey(t, sandbox)
	reveal(t, s, key, sandbox)
	ask(t, s, key, "GET", "/egress/secrets", "") // denied
	count := func(query string) (actions []string) {
		t.Helper()
		for _, e := range decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?"+query, "")).Events {
			actions = append(actions, e.Action+" "+e.Outcome)
		}
		slices.Sort(actions)
		return actions
	}
	for query, want := range map[string][]string{
		"key_id=" + keyID:                         {"reveal ok", "secret.read denied"},
		"key_id=key_x":                            nil,
		"secret_id=" + a:                          {"binding.create ok", "reveal ok", "secret.create ok"},
		"secret_id=" + b:                          {"binding.create ok", "secret.create ok"},
		"secret_id=%25":                           nil,
		"secret_id=" + a[:len(a)-1]:               nil,
		"external_user_id=u_1":                    {"secret.create ok"},
		"external_workspace_id=w_1&since=30m":     {"secret.create ok"},
		"external_workspace_id=w_1&until=30m":     nil,
		"host=example.com":                        nil,
		"secret_id=" + a + "&action=reveal":       {"reveal ok"},
		"secret_id=" + a + "&key_id=" + keyID:     {"reveal ok"},
		"resource_id=sb_1&since=7d&action=reveal": {"reveal ok"},
	} {
		if diff := cmp.Diff(count(query), want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", query, diff)
		}
	}
	if a := ask(t, s, s.TenantKey, "GET", "/egress/audit?group_by=host&since=24h", ""); string(a.body) != "{\"groups\":[]}\n" {
		t.Errorf("groups: %s", a.body)
	}
	for _, query := range []string{"group_by=action", "hosts=x", "outcome=denied", "group_by=host&cursor=b1.1", "resource_id=%E2%80%AEsb_1", "key_id=a%00", "limit=10&page=2"} {
		wantRefusal(t, ask(t, s, s.TenantKey, "GET", "/egress/audit?"+query, ""), api.ErrInvalid, "")
	}
	for _, list := range []string{"secrets", "bindings", "resource-keys", "audit/verify"} {
		wantRefusal(t, ask(t, s, s.TenantKey, "GET", "/egress/"+list+"?limits=1", ""), api.ErrInvalid, "it takes")
	}
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/secrets", `{"name":"a\u202eb","value":"v"}`), api.ErrInvalid, "name")
	wantRefusal(t, ask(t, s, s.TenantKey, "POST", "/egress/secrets", `{"name":"a","owner_user_id":"a\u200bb","value":"v"}`), api.ErrInvalid, "owner_user_id")
}

// A key that is unknown, revoked or expired is audited with the address that used it, and counted in the metrics.
func TestInvalidKeysAreAudited(t *testing.T) {
	vaulttest.OneVault(t, "metrics are each vault's")
	s := vaulttest.Start(t)
	key, keyID := s.MintResourceKey(t, sandbox)
	ask(t, s, s.TenantKey, "DELETE", "/egress/resource-keys/"+keyID, "")
	for range 3 {
		wantRefusal(t, ask(t, s, key, "GET", "/egress/bindings", ""), api.ErrUnauthorized, "")
		wantRefusal(t, ask(t, s, api.NewKey(api.TenantKeyPrefix), "GET", "/egress/bindings", ""), api.ErrUnauthorized, "")
	}
	var events []api.Event
	poll.Until(t, 30*time.Second, "the uses are audited", func() bool {
		events = decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?action=key.refused", "")).Events
		return len(events) == 1 && events[0].Count == 3
	})
	if e := events[0]; e.KeyID != keyID || e.Detail != "revoked" || e.RemoteAddr != "127.0.0.1" || e.Outcome != api.OutcomeDenied {
		t.Errorf("%+v", e)
	}
	text := string(ask(t, s, api.Key{}, "GET", "//metrics", "").body)
	for _, want := range []string{`miosa_vault_invalid_keys_total{reason="revoked"} 3`, `miosa_vault_invalid_keys_total{reason="unknown"} 3`, "miosa_vault_disk_free_bytes ", "miosa_vault_audit_bytes "} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
}
