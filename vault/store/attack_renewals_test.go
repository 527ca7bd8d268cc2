package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// renewing is a tenant with a secret whose token is due, from a provider or, with "", a token URL that the tenant has chosen.
func renewing(t *testing.T, provider string, limits limit.Values) (s *Store, owner Actor, secret api.Secret) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{DataDir: dir, Database: postgrestest.Database(t, dir), RootKey: rootAt(t, dir), Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	owner = tenant(t, s, "hostile")
	secret, _, _, err = s.PutSecret(t.Context(), owner, api.NewSecret{Name: "token", Value: text("v"), RefreshToken: text("r")}, &Grant{Provider: provider})
	if err != nil {
		t.Fatal(err)
	}
	return s, owner, secret
}

// renew claims the secret's schedule, and stores a token of a length.
func renew(t *testing.T, s *Store, owner Actor, secret api.Secret, length int) error {
	t.Helper()
	if err := s.Alter(t.Context(), `UPDATE oauth_grants SET due_at = 1`); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.ClaimRefresh(t.Context(), owner.TenantID, secret.ID, 0)
	if err != nil {
		return err
	}
	return s.StoreRefresh(t.Context(), claimed, oauth.Token{Access: text(strings.Repeat("t", length)), ExpiresAt: in(time.Hour)})
}

// A token URL that a tenant has chosen can't make the vault store more than the tenant may. Tokens of the operator's providers
// are stored.
func TestAttack_RenewalsBeyondBytes(t *testing.T) {
	for _, provider := range []string{"", "acme"} {
		limits := unlimited
		limits[limit.TenantBytes] = 10_000
		s, owner, secret := renewing(t, provider, limits)
		for _, length := range []int{5000, 20_000} {
			err := renew(t, s, owner, secret, length)
			switch {
			case provider == "" && length > 10_000:
				wantKind(t, err, api.ErrInvalid)
			case err != nil:
				t.Errorf("%q: %d bytes: %v", provider, length, err)
			}
		}
		var bytes int
		if look(t, s, &bytes, `SELECT bytes FROM tenant_usage WHERE tenant_id = $1`, owner.TenantID); (bytes < 10_000) != (provider == "") {
			t.Errorf("%q: the tenant stores %d bytes", provider, bytes)
		}
		var version int
		if look(t, s, &version, `SELECT version FROM secrets`); provider == "" && version != 2 {
			t.Errorf("version %d", version)
		}
	}
}

// Renewals count as changes, and longer tokens as more: beyond the rate of the tenant, tokens aren't requested. Its own changes wait
// too.
func TestAttack_RenewalsBeyondRate(t *testing.T) {
	limits := unlimited
	limits[limit.TenantWrites] = 1 // 10 at once
	s, owner, secret := renewing(t, "", limits)
	n := 0
	for ; n < 20; n++ {
		err := renew(t, s, owner, secret, 32<<10)
		if errors.Is(err, api.ErrRateLimited) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n > 10 {
		t.Errorf("%d tokens of 32 KiB were stored at once", n)
	}
	_, err := s.IssueKey(t.Context(), owner, api.KeyRequest{})
	wantKind(t, err, api.ErrRateLimited)
}
