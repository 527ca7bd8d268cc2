package vault_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// With an address of their own, metrics are served there, and only there.
func TestMetricsOnTheirOwn(t *testing.T) {
	s := vaulttest.Start(t, func(c *vault.Config) { c.OwnMetrics = true })
	if a := ask(t, s, api.Key{}, "GET", "//metrics", ""); a.status != http.StatusNotFound {
		t.Errorf("the API's address: status %d", a.status)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Vault().ServeMetrics(ctx, l) }()
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if status, text := get("/metrics"); status != http.StatusOK || !strings.Contains(text, "miosa_vault_limit{limit=\"key_waits\"} 64\n") {
		t.Errorf("status %d: %.200s", status, text)
	}
	if status, _ := get("/healthz"); status != http.StatusNotFound {
		t.Errorf("another path: status %d", status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Browsers that have seen the vault over TLS use nothing else later.
func TestStrictTransportSecurity(t *testing.T) {
	c, _, _ := vaulttest.Certificate(t)
	for _, s := range []*vaulttest.Server{vaulttest.Start(t, vaulttest.WithTLS(c)), vaulttest.Start(t)} {
		secure := strings.HasPrefix(s.BaseURL, "https:")
		for _, path := range []string{"/", "/healthz", "/api/v1/egress/secrets", "/none"} {
			if got := s.Header(t, path).Get("Strict-Transport-Security"); secure != (got == "max-age=31536000") || !secure && got != "" {
				t.Errorf("over TLS %t, %s: %q", secure, path, got)
			}
		}
	}
}
