package vault_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// few is how many requests fewRequests gives a tenant, before it has one in many seconds.
const few = 100

func fewRequests(c *vault.Config) {
	c.Limits[limit.TenantRequests], c.Limits[limit.TenantBurst] = 0.01, few
}

// A long body counts as many requests also if its length isn't announced.
func TestAttack_LongChunkedBodies(t *testing.T) {
	vaulttest.OneVault(t, "limits are each vault's")
	s := vaulttest.Start(t, fewRequests)
	body := `{"padding":"` + strings.Repeat("x", 2<<20) + `"}`
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.BaseURL+"/egress/secrets", io.MultiReader(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.TenantKey.Reveal())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != api.ErrInvalid.Status {
		t.Fatalf("status %d", res.StatusCode)
	}
	wantRefusal(t, ask(t, s, s.TenantKey, "GET", "/egress/secrets?limit=1", ""), api.ErrRateLimited, "tenant_requests")
}

// A long list counts as many requests also if the client doesn't read it to its end.
func TestAttack_AbortedLists(t *testing.T) {
	s := vaulttest.Start(t, fewRequests)
	fill(t, s, 300, 60<<10)
	c := dial(t, s)
	c.send(t, "GET /api/v1/egress/secrets HTTP/1.1\r\nHost: vault\r\nAuthorization: Bearer "+s.TenantKey.Reveal()+"\r\n\r\n")
	if _, err := io.CopyN(io.Discard, c.Reader, 2<<20); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	for range few - 10 { // before these are too many by themselves
		if ask(t, s, s.TenantKey, "GET", "/egress/audit/head", "").status == api.ErrRateLimited.Status {
			return
		}
		time.Sleep(100 * time.Millisecond) // until the vault has noticed
	}
	t.Error("the list counts as one request")
}
