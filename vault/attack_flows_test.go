package vault

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A tenant starts flows, and ends some, as fast as it can: the number of its flows stays limited, and another tenant can
// start one. Old flows are deleted although nobody starts another.
func TestAttack_FlowsPileUp(t *testing.T) {
	const pending, all = 1000, 10000
	c := newConnected(t, 3600)
	evil := c.as("evil")
	first := evil.start(nil)
	denied := evil.start(nil)
	evil.callback(map[string][]string{"state": {denied.State}, "error": {"access_denied"}})
	count := func(where string) (n int) {
		t.Helper()
		look(t, c.vault.store, &n, `SELECT COUNT(*) FROM oauth_flows WHERE `+where)
		return n
	}
	// As if it had gone on. SQLite's numbers are a quick way to many rows.
	copies := func(n int, status string) {
		t.Helper()
		tamper(t, c.vault.store, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
			INSERT INTO oauth_flows (id, tenant_id, state_hash, salt, provider, redirect_uri, asked, key_id, status, error, secret_id, created_at, expires_at, updated_at)
			SELECT id || status || i, tenant_id, state_hash || i, salt, provider, redirect_uri, asked, key_id, status, error, secret_id, created_at + i, expires_at, updated_at
			FROM oauth_flows, n WHERE status = $2`, n, status)
	}
	copies(pending-1, api.FlowPending)
	w := evil.do("POST", "/egress/oauth/start", `{"provider":"acme"}`)
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "limit tenant_flows: 1000") {
		t.Errorf("one flow more: status %d: %s", w.Code, w.Body)
	}
	c.start(nil)
	if got := evil.status(first.State).Status; got != api.FlowPending {
		t.Errorf("the first flow is %s", got)
	}

	tamper(t, c.vault.store, `UPDATE oauth_flows SET expires_at = 1 WHERE status = $1 AND id LIKE '%'||status||'%'`, api.FlowPending)
	copies(2*all, api.FlowDenied)
	evil.start(nil)
	if n := count(`tenant_id = (SELECT tenant_id FROM oauth_flows WHERE status = 'denied' LIMIT 1)`); n > all+2 {
		t.Errorf("%d flows of one tenant, want %d", n, all)
	}
	if got := evil.status(first.State).Status; got != api.FlowPending {
		t.Errorf("a pending flow is %s", got)
	}

	tamper(t, c.vault.store, `UPDATE oauth_flows SET created_at = $1 WHERE status = 'denied'`, time.Now().Add(-25*time.Hour).UnixMicro())
	c.reopen()
	poll.Until(t, 20*time.Second, "old flows are deleted", func() bool { return count(`status = 'denied'`) == 0 })
	if n := count(`status = 'pending'`); n == 0 {
		t.Error("new flows are deleted too")
	}
}
