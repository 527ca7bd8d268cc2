package vault_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// rawConn is a connection on which a test sends bytes of its choice.
type rawConn struct {
	net.Conn
	*bufio.Reader
}

func dial(t testing.TB, s *vaulttest.Server) rawConn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return rawConn{c, bufio.NewReader(c)}
}

func (r rawConn) send(t testing.TB, text string) {
	t.Helper()
	if _, err := r.Conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func (r rawConn) wantStatus(t testing.TB, status int) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(r.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("status %d, want %d", res.StatusCode, status)
	}
	return res
}

// A request that can be refused by its headers is refused before its body is read, and the connection is closed.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := vaulttest.Start(t)
	good := "Authorization: Bearer " + s.TenantKey.Reveal() + "\r\n"
	resource := "Authorization: Bearer " + s.ResourceKey(t, sandbox).Reveal() + "\r\n"
	for _, c := range []struct {
		name, line, auth string
		length           int
		status           int
	}{
		{"a secret too long, without a key", "POST /api/v1/egress/secrets", "", 8<<20 + 1, 413},
		{"a gigabyte, with a key", "POST /api/v1/egress/secrets", good, 1 << 30, 413},
		{"a binding too long", "POST /api/v1/egress/bindings", good, 64<<10 + 1, 413},
		{"a body where none belongs", "GET /api/v1/egress/secrets", good, 64<<10 + 1, 413},
		{"no key", "POST /api/v1/egress/secrets", "", 100, 401},
		{"an unknown key", "POST /api/v1/egress/secrets", "Authorization: Bearer msk_u_0123456789abcdef\r\n", 100, 401},
		{"a key that may not", "POST /api/v1/egress/secrets", resource, 100, 403},
		{"no such path", "POST /api/v1/nothing", good, 100, 404},
		{"wrong method", "PUT /api/v1/egress/secrets", good, 100, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dial(t, s)
			r.send(t, fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", c.line, c.auth, c.length))
			res := r.wantStatus(t, c.status)
			_ = res.Body.Close()
			if !res.Close {
				t.Error("the connection is kept")
			}
		})
	}
}

// A client that reads no answer before it has sent its whole body sees an early refusal.
func TestEarlyRefusalsAreSeen(t *testing.T) {
	s := vaulttest.Start(t)
	good := "Authorization: Bearer " + s.TenantKey.Reveal() + "\r\n"
	for _, c := range []struct {
		name, line, auth string
		length           int
		status           int
	}{
		{"too long", "POST /api/v1/egress/secrets", good, 10 << 20, 413},
		{"no key", "POST /api/v1/egress/secrets", "", 6 << 20, 401},
		{"no such path", "POST /api/v1/nothing", good, 6 << 20, 404},
		{"compressed", "POST /api/v1/egress/secrets", good + "Content-Encoding: gzip\r\n", 6 << 20, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dial(t, s)
			r.send(t, fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", c.line, c.auth, c.length))
			r.send(t, strings.Repeat("a", c.length))
			res := r.wantStatus(t, c.status)
			_ = res.Body.Close()
			if !res.Close {
				t.Error("the connection is kept")
			}
		})
	}
}

func TestBodyLimits(t *testing.T) {
	s := vaulttest.Start(t)
	key := s.ResourceKey(t, sandbox)
	put := func(value string) string {
		return `{"name":"a","value":"` + value + `","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"A"}`
	}
	for _, c := range []struct {
		name, path, body string
		status           int
	}{
		{"the longest value, all escapes", "/egress/secrets", put(strings.Repeat(`\u0061`, api.MaxValueBytes)), 201},
		{"a value one byte longer", "/egress/secrets", put(strings.Repeat("a", api.MaxValueBytes+1)), 422},
		{"a body over 8 MiB", "/egress/secrets", put(strings.Repeat(`\u0061`, 3<<19)), 413},
		{"a binding over 64 KiB", "/egress/bindings", `{"x":"` + strings.Repeat("a", 64<<10) + `"}`, 413},
		{"too deep", "/egress/secrets", `{"metadata":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 41), 400},
		{"a million brackets", "/egress/secrets", strings.Repeat("[", 1<<20), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a := ask(t, s, s.TenantKey, "POST", c.path, c.body); a.status != c.status {
				t.Errorf("status %d, want %d: %s", a.status, c.status, a.body)
			}
		})
	}
	if got := values(reveal(t, s, key, sandbox))["A"]; got != strings.Repeat("a", api.MaxValueBytes) {
		t.Errorf("a value of 1 MiB came back with %d bytes", len(got))
	}
}

// A chunked body has no declared length; reading stops at the limit.
func TestEndlessBody(t *testing.T) {
	s := vaulttest.Start(t)
	r := dial(t, s)
	r.send(t, "POST /api/v1/egress/bindings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.TenantKey.Reveal()+
		"\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<14, strings.Repeat("a", 1<<14))
	for range 5 {
		r.send(t, chunk)
	}
	res := r.wantStatus(t, http.StatusRequestEntityTooLarge)
	_ = res.Body.Close()
	if !res.Close {
		t.Error("the connection is kept")
	}
}

func TestHeaderLimit(t *testing.T) {
	s := vaulttest.Start(t)
	for _, c := range []struct {
		name   string
		size   int
		status int
	}{
		{"15 KiB", 15 << 10, 200},
		{"17 KiB", 17 << 10, 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dial(t, s)
			r.send(t, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", c.size)+"\r\n\r\n")
			_ = r.wantStatus(t, c.status).Body.Close()
		})
	}
}

// Each key has its own rate limit. Beyond it, 429 states when to retry.
func TestRateOfAKey(t *testing.T) {
	vaulttest.OneVault(t, "limits are each vault's")
	s := vaulttest.Start(t, func(c *vault.Config) { c.Limits[limit.KeyRequests], c.Limits[limit.KeyBurst] = 0.1, 5 })
	for range 5 {
		if a := ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""); a.status != http.StatusOK {
			t.Fatalf("status %d within the burst", a.status)
		}
	}
	a := ask(t, s, s.TenantKey, "GET", "/egress/secrets", "")
	wantRefusal(t, a, api.ErrRateLimited, "this key")
	if body := decode[api.ErrorBody](t, a); body.RetryAfter > 10 {
		t.Errorf("retry after %v s, want at most 10", body.RetryAfter)
	}
	if a := ask(t, s, s.Tenant(t, "test"), "GET", "/egress/secrets", ""); a.status != http.StatusOK {
		t.Errorf("another key of the tenant: status %d", a.status)
	}
}

// An address that sends many requests without a valid key is rate limited; a valid key from the same address still
// works.
func TestRateOfFailures(t *testing.T) {
	s := vaulttest.Start(t)
	var last answer
	for range 10_000 {
		if last = ask(t, s, api.NewKey(api.TenantKeyPrefix), "GET", "/egress/secrets", ""); last.status != http.StatusUnauthorized {
			break
		}
	}
	wantRefusal(t, last, api.ErrRateLimited, "address")
	if a := ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""); a.status != http.StatusOK {
		t.Errorf("a good key: status %d", a.status)
	}
}

func TestTLSIs13(t *testing.T) {
	c, _, _ := vaulttest.Certificate(t)
	s := vaulttest.Start(t, vaulttest.WithTLS(c))
	if status, text := s.Do(t, s.TenantKey, "GET", "/egress/secrets", nil); status != http.StatusOK {
		t.Errorf("status %d: %s", status, text)
	}
	old := &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if conn, err := tls.Dial("tcp", s.Addr(), old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.2 is accepted")
	}
	r := dial(t, s) // a plain connection to a TLS port
	r.send(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = r.wantStatus(t, http.StatusBadRequest).Body.Close()
}
