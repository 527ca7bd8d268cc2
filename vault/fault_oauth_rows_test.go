package vault

import (
	"net/http"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault/store"
)

// A flow whose row is moved to another tenant, or swapped with another tenant's, fails, because the provider's
// parameters are derived from the flow as it was started. No tenant gets another's token.
func TestFault_V12_FlowsOfAnother(t *testing.T) {
	for _, tt := range []struct {
		name string
		sql  string // $1: the other tenant, $2: its key
	}{
		{"given to another tenant", `UPDATE oauth_flows SET tenant_id = $1 WHERE tenant_id <> $1 AND key_id <> $2`},
		{"given to another tenant with its key", `UPDATE oauth_flows SET tenant_id = $1, key_id = $2 WHERE tenant_id <> $1`},
		{"taken for another tenant's", `UPDATE oauth_flows SET redirect_uri = state_hash, state_hash = 'gone' WHERE tenant_id <> $1 AND key_id <> $2`},
		{"salt of another tenant's", `UPDATE oauth_flows SET salt = (SELECT salt FROM oauth_flows WHERE tenant_id = $1) WHERE tenant_id <> $1 AND key_id <> $2`},
		{"another binding", `UPDATE oauth_flows SET asked = '{"resource_type":"sandbox","resource_id":"sb_evil","expose_as_env":"X"}' WHERE tenant_id <> $1 AND key_id <> $2`},
		{"another redirect", `UPDATE oauth_flows SET redirect_uri = 'https://evil.example/' WHERE tenant_id <> $1 AND key_id <> $2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newConnected(t, 3600)
			minted, err := c.vault.store.CreateTenantKey(t.Context(), "other")
			if err != nil {
				t.Fatal(err)
			}
			other := actorOf(t, c.vault.store, minted.Key)
			own := c.key
			started := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"})
			c.key = minted.Key
			c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": "ACME_TOKEN"})
			c.key = own
			tamper(t, c.vault.store, tt.sql, other.TenantID, other.KeyID)
			tamper(t, c.vault.store, `UPDATE oauth_flows SET state_hash = gone.redirect_uri FROM oauth_flows gone
				WHERE gone.state_hash = 'gone' AND oauth_flows.id <> gone.id`)
			if w := c.callback(c.provider.consent(t, started.AuthorizeURL)); w.Code < 400 {
				t.Errorf("status %d", w.Code)
			}
			for _, a := range []store.Actor{c.owner, other} {
				list, _, err := c.vault.store.Secrets(t.Context(), a, store.SecretFilter{})
				if err != nil || len(list) != 0 {
					t.Errorf("%d secrets, %v", len(list), err)
				}
			}
		})
	}
}

// A refresh token of another tenant does not open and is not sent to the provider. A row moved to another tenant
// does not refresh that tenant's tokens.
func TestFault_V12_RenewalsOfAnother(t *testing.T) {
	for _, tt := range []struct {
		name string
		sql  string // $1: the connection, $2: another connection of the tenant, $3: another tenant
	}{
		{"another's refresh token", `UPDATE secrets SET refresh_token = (SELECT refresh_token FROM secrets WHERE id = $2) WHERE id = $1 AND tenant_id <> $3`},
		{"the value as refresh token", `UPDATE secrets SET refresh_token = value WHERE id = $1 AND id <> $2 AND tenant_id <> $3`},
		{"the grant of another tenant", `UPDATE oauth_grants SET tenant_id = $3 WHERE secret_id = $1 AND secret_id <> $2`},
		{"the secret of another tenant", `UPDATE secrets SET tenant_id = $3 WHERE id = $1 AND id <> $2`},
		{"both of another tenant", `UPDATE oauth_grants SET tenant_id = $3 WHERE secret_id = $1 AND secret_id <> $2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, 3600).withoutScheduler() // which would renew the second connection, rightly
			secret := c.secret()
			second := c.start(map[string]string{"resource_type": "sandbox", "resource_id": "sb_2", "expose_as_env": "ACME_TOKEN"})
			if w := c.callback(c.provider.consent(t, second.AuthorizeURL)); w.Code != http.StatusOK {
				t.Fatalf("status %d", w.Code)
			}
			list, _, err := c.vault.store.Secrets(t.Context(), c.owner, store.SecretFilter{ResourceID: "sb_2"})
			if err != nil || len(list) != 1 {
				t.Fatalf("%d secrets, %v", len(list), err)
			}
			other := tenant(t, c.vault.store, "other")
			tamper(t, c.vault.store, tt.sql, secret.ID, list[0].ID, other.TenantID)
			if tt.name == "both of another tenant" {
				tamper(t, c.vault.store, `UPDATE secrets SET tenant_id = $1 WHERE id = $2`, other.TenantID, secret.ID)
			}
			asked := c.provider.requests()
			c.due()
			for _, of := range []string{c.owner.TenantID, other.TenantID} {
				got := <-c.vault.refresh.start(t.Context(), of, secret.ID, 0)
				t.Logf("renewed for %s: %v", of, got.Err)
			}
			if n := c.provider.requests(); n != asked {
				t.Errorf("the provider was asked %d times", n-asked)
			}
			var version int64
			if look(t, c.vault.store, &version, `SELECT version FROM secrets WHERE id = $1`, secret.ID); version != secret.Version {
				t.Errorf("version %d", version)
			}
			if _, err := c.vault.store.Secret(t.Context(), other, secret.ID); err == nil {
				t.Error("the other tenant can read the token")
			}
		})
	}
}
