package oauthtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A client credentials token is requested when the secret is created, and refreshed; the client secret stays in
// the vault.
func TestMachine(t *testing.T) {
	t.Parallel()
	s := newFixture(t, authserver.Start(t, authserver.Config{TokenLife: 3 * time.Second}))
	machine := s.provider.Machine
	body := func(secret string) map[string]any {
		return map[string]any{
			"name": "robot", "type": "oauth_machine", "value": secret, "expose_as_env": "ROBOT_TOKEN",
			"resource_type": sandbox.Type, "resource_id": sandbox.ID,
			"metadata": map[string]any{"team": "ops", "oauth": map[string]any{
				"token_url": s.provider.Issuer + "/token", "client_id": machine.ID, "scopes": []string{"repo"},
			}},
		}
	}
	status, text := s.vault.Do(t, s.vault.TenantKey, "POST", "/egress/secrets", body("not its secret"))
	if status != 422 || !strings.Contains(string(text), "invalid_client") || strings.Contains(string(text), "not its secret") {
		t.Errorf("a client that the provider refuses: status %d, %s", status, text)
	}
	s.wantNothing(t)

	id := s.vault.PutSecret(t, body(machine.Secret))
	last := int64(0)
	seen := map[string]bool{}
	poll.Until(t, 40*time.Second, "three tokens were there", func() bool {
		value, version, ok := s.revealed(t, "ROBOT_TOKEN")
		if ok && version > last {
			last = version
			if value == machine.Secret || seen[value] {
				t.Errorf("version %d is the client's secret, or a token that was there before", version)
			}
			seen[value] = true
			if !s.provider.Active(t, machine, value) {
				t.Errorf("the token of version %d isn't good", version)
			}
		}
		return last >= 3
	})
	secret, health := s.secret(t, id)
	if secret.Type != "oauth_machine" || health.Status != api.OAuthConnected || !strings.Contains(string(secret.Metadata), `"team"`) {
		t.Errorf("the secret is of type %q, %s", secret.Type, secret.Metadata)
	}
}
