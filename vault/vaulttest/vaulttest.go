// Package vaulttest starts a real vault inside a test: a store in a temporary folder, served on a
// loopback port.
//
//	s := vaulttest.Start(t)
//	sandbox := api.Resource{Type: api.Sandbox, ID: "sb_1"}
//	id := s.Put(t, "github", "s3cret", sandbox, "GH_TOKEN")
//	key := s.ResourceKey(t, sandbox)
//	s.Rotate(t, id, "n3w")
package vaulttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// Server is a vault for a single test. It stops when the test ends.
type Server struct {
	BaseURL   string  // ends in /api/v1; stays the same across Restart
	TenantKey api.Key // of the tenant "test"

	conf   vault.Config
	addr   string
	client *http.Client

	replicas []*replica // usually one; none while stopped
	proxy    *proxy     // in front of several replicas; nil: there is one

	mu    sync.Mutex     // guards begun
	begun map[string]int // requests by route
}

// Option changes how the vault is started.
type Option func(*vault.Config)

// WithTLS serves https with a certificate, such as one of Certificate.
func WithTLS(c tls.Certificate) Option {
	return func(v *vault.Config) {
		v.TLS = &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13}
	}
}

// WithOAuth configures OAuth providers with a file of miosa-vault serve --oauth-file. Paths in it are absolute.
func WithOAuth(t testing.TB, text string) Option {
	t.Helper()
	file := filepath.Join(t.TempDir(), "oauth.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	providers, err := oauth.Load(file, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return func(v *vault.Config) {
		own := *providers
		v.OAuth = &own
	}
}

// WithFlowTime sets when flows expire.
func WithFlowTime(d time.Duration) Option {
	return func(v *vault.Config) { v.FlowTime = d }
}

// unlimited are limits that no test reaches, except those of connections, waits and memory.
func unlimited() (v limit.Values) {
	for _, id := range []limit.ID{limit.KeyRequests, limit.KeyBurst, limit.TenantRequests, limit.TenantBurst, limit.Requests,
		limit.TenantWrites, limit.Writes, limit.TenantEvents, limit.Events, limit.TenantTraffic, limit.Traffic} {
		v[id] = 1e6
	}
	return v
}

// Start starts a vault with a tenant and its key. Without an Option it has no rate limits and no log. In a process of postgrestest.Rerun
// its database is on PostgreSQL.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Server{addr: "127.0.0.1:0", begun: map[string]int{}}
	s.conf = vault.Config{
		Store:  store.Config{DataDir: dir, Database: postgrestest.Database(t, dir), RootKey: keyring.Root{Text: root}},
		Limits: unlimited(),
	}
	s.conf.OnRequest = func(route string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.begun[route]++
	}
	for _, opt := range opts {
		opt(&s.conf)
	}
	s.Restart(t)
	t.Cleanup(func() { s.client.CloseIdleConnections(); s.Stop(t) })
	s.TenantKey = s.Tenant(t, "test")
	return s
}

// Restart stops the vault if it runs, and starts it on the same port with the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	vaults := s.openVaults(t)
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	transport := &http.Transport{}
	scheme := "http"
	if s.conf.TLS != nil {
		scheme = "https"
		roots := x509.NewCertPool()
		for _, c := range s.conf.TLS.Certificates {
			if leaf, err := x509.ParseCertificate(c.Certificate[len(c.Certificate)-1]); err == nil {
				roots.AddCert(leaf)
			}
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	}
	s.BaseURL = scheme + "://" + s.addr + "/api/v1"
	s.client = &http.Client{Transport: transport, Timeout: 90 * time.Second}
	s.serveAll(t, vaults, l)
	// So that each request is another vault's.
	transport.DisableKeepAlives = len(s.replicas) > 1
}

// Stop stops the vault as TERM does. A second Stop does nothing.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if len(s.replicas) == 0 {
		return
	}
	s.client.CloseIdleConnections()
	if s.proxy != nil {
		s.proxy.refuse()
	}
	for _, r := range s.replicas {
		r.close(t)
	}
	if s.proxy != nil {
		s.proxy.close()
	}
	s.replicas, s.proxy = nil, nil
}

// Vault is the running vault, or the first of several; nil while it is stopped.
func (s *Server) Vault() *vault.Vault {
	if len(s.replicas) == 0 {
		return nil
	}
	return s.replicas[0].Vault
}

// DataDir is the store's folder.
func (s *Server) DataDir() string { return s.conf.Store.DataDir }

// Addr is the host and port of the vault's listener.
func (s *Server) Addr() string { return s.addr }

// Vaults are the addresses of the vaults themselves: Addr, or those of several behind it.
func (s *Server) Vaults() (addrs []string) {
	for _, r := range s.replicas {
		addrs = append(addrs, r.addr)
	}
	return addrs
}

// Requests returns the number of requests for a route, such as "POST /egress/bindings/reveal", since Start, including
// those that aren't answered yet.
func (s *Server) Requests(route string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun[route]
}

// Tenant creates a tenant unless it exists, and returns a new key of it.
func (s *Server) Tenant(t testing.TB, name string) api.Key {
	t.Helper()
	made, err := s.Vault().Store().CreateTenantKey(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return made.Key
}

// ResourceKey creates a key of the tenant "test" for one resource.
func (s *Server) ResourceKey(t testing.TB, r api.Resource) api.Key {
	t.Helper()
	key, _ := s.MintResourceKey(t, r)
	return key
}

// MintResourceKey is like ResourceKey and also returns the key's id.
func (s *Server) MintResourceKey(t testing.TB, r api.Resource) (api.Key, string) {
	t.Helper()
	var made struct{ Data api.IssuedKey }
	s.must(t, "POST", "/egress/resource-keys", r, &made)
	key, err := api.ParseKey(made.Data.Key)
	if err != nil {
		t.Fatal(err)
	}
	return key, made.Data.ID
}

// MintBrokerKey creates a broker key of the tenant "test" for resources.
func (s *Server) MintBrokerKey(t testing.TB, resources ...api.Resource) (key api.Key, id string) {
	t.Helper()
	names := make([]string, len(resources))
	for i, r := range resources {
		names[i] = r.String()
	}
	var made struct{ Data api.IssuedKey }
	s.must(t, "POST", "/egress/keys", map[string]any{"broker": true, "resources": names}, &made)
	key, err := api.ParseKey(made.Data.Key)
	if err != nil {
		t.Fatal(err)
	}
	return key, made.Data.ID
}

// PutPlaceholder stores a secret that brokers may send where rule says, and binds it to the resource under env, as a placeholder.
func (s *Server) PutPlaceholder(t testing.TB, name, value string, rule api.EgressRule, r api.Resource, env string) (secretID, placeholder string) {
	t.Helper()
	secretID = s.PutSecret(t, map[string]any{"name": name, "value": value, "egress": rule})
	var bound struct {
		Data struct {
			Token string `json:"placeholder_token"`
		}
	}
	s.must(t, "POST", "/egress/bindings", map[string]any{
		"secret_id": secretID, "resource_type": r.Type, "resource_id": r.ID, "expose_as_env": env, "delivery": "placeholder",
	}, &bound)
	return secretID, bound.Data.Token
}

// Revoke revokes a resource key by its id.
func (s *Server) Revoke(t testing.TB, keyID string) {
	t.Helper()
	s.must(t, "DELETE", "/egress/resource-keys/"+keyID, nil, nil)
}

// Put stores a secret and binds it to the resource under env. It returns the secret's id.
func (s *Server) Put(t testing.TB, name, value string, r api.Resource, env string) (secretID string) {
	t.Helper()
	return s.PutSecret(t, map[string]any{
		"name": name, "value": value, "resource_type": r.Type, "resource_id": r.ID, "expose_as_env": env,
	})
}

// PutSecret sends body to POST /egress/secrets, and returns the secret's id.
func (s *Server) PutSecret(t testing.TB, body map[string]any) (secretID string) {
	t.Helper()
	var put struct{ Data api.Secret }
	s.must(t, "POST", "/egress/secrets", body, &put)
	return put.Data.ID
}

// Rotate replaces a secret's value.
func (s *Server) Rotate(t testing.TB, secretID, value string) {
	t.Helper()
	s.must(t, "PATCH", "/egress/secrets/"+secretID, map[string]string{"value": value}, nil)
}

// Delete deletes a secret and its bindings.
func (s *Server) Delete(t testing.TB, secretID string) {
	t.Helper()
	s.must(t, "DELETE", "/egress/secrets/"+secretID, nil, nil)
}

func (s *Server) must(t testing.TB, method, path string, body, answer any) {
	t.Helper()
	if status, text := s.Do(t, s.TenantKey, method, path, body); status/100 != 2 {
		t.Fatalf("%s %s: status %d: %s", method, path, status, text)
	} else if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// Header returns the header of the answer to a GET of a path below the server's root, without a key.
func (s *Server) Header(t testing.TB, path string) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", strings.TrimSuffix(s.BaseURL, "/api/v1")+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.Header
}

// Do sends a request, with path under BaseURL and body as JSON (nil: none), and returns the answer's status and body.
func (s *Server) Do(t testing.TB, key api.Key, method, path string, body any) (status int, text []byte) {
	t.Helper()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.BaseURL+path, sent)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key.Reveal())
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if text, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, text
}
