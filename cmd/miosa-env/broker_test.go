package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// upstreamHost is the host of the servers behind brokers under test. It isn't among those that clients use no proxy for.
const upstreamHost = "127.0.0.2"

// upstream starts a server behind a broker, which answers with the Authorization header, and for git with a repository that has a
// branch of this name. It returns its port and the file with its certificate.
func upstream(t testing.TB, host string) (port int, certificate string) {
	t.Helper()
	own, certificate, _ := vaulttest.Certificate(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(host)} })
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent := r.Header.Get("Authorization"); strings.HasSuffix(r.URL.Path, "/info/refs") {
			_, _ = fmt.Fprintf(w, "%040x\trefs/heads/%s\n", 1, strings.ReplaceAll("you sent "+sent, " ", "-"))
		} else {
			_, _ = fmt.Fprintf(w, "you sent %s\n", sent)
		}
	}))
	_ = server.Listener.Close()
	server.Listener, server.TLS = l, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return l.Addr().(*net.TCPAddr).Port, certificate
}

// cmdBroker starts miosa-egress for the script's sandbox, at 127.0.0.1, or at the address that is given: a port of 0 is any. The
// variable BROKER is the URL of its listener. A second call with the same address replaces the first broker.
func cmdBroker(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: broker [ADDRESS]")
	}
	s := ts.Value(vaultKey{}).(*scriptVault)
	if old := s.started["broker"]; old != nil {
		ts.Check(old.Process.Kill())
		_ = old.Wait()
	}
	address := append(args, "127.0.0.1:0")[0]
	if strings.HasSuffix(address, ":0") {
		l, err := net.Listen("tcp", address)
		ts.Check(err)
		address = l.Addr().String()
		_ = l.Close()
	}
	if ts.Getenv("UPSTREAM") == "" {
		port, certificate := upstream(s.tb, upstreamHost)
		ts.Setenv("UPSTREAM", fmt.Sprintf("https://%s:%d/", upstreamHost, port))
		ts.Setenv("UPSTREAM_CA", certificate)
		s.upstreamHost, s.upstreamPort = upstreamHost, port
	}
	ts.Check(s.configureBroker(ts.MkAbs("."), address, ts.Getenv("UPSTREAM_CA")))
	start(ts, "broker", "broker.out", "broker.log", filepath.Join(built, "miosa-egress"), "serve", "--config", ts.MkAbs("egress.toml"))
	if !poll.Within(time.Minute, func() bool { return ts.Exec("miosa-egress", "status", "--socket", ts.MkAbs("egress.sock")) == nil }) {
		ts.Fatalf("no broker; its log:\n%s", ts.ReadFile("broker.log"))
	}
	ts.Setenv("BROKER", "http://"+address)
}

// configureBroker writes the configuration and the key of a broker for the script's sandbox to egress.toml and broker.key.
func (s *scriptVault) configureBroker(folder, address, upstreamCA string) error {
	status, text := s.Do(s.tb, s.TenantKey, "POST", "/egress/keys", map[string]any{"broker": true, "resources": []string{"sandbox:" + sandbox.ID}})
	var made struct{ Data api.IssuedKey }
	if err := json.Unmarshal(text, &made); err != nil || status != http.StatusCreated {
		return fmt.Errorf("broker key: status %d", status)
	}
	s.brokerKeyID = made.Data.ID
	in := func(name string) string { return filepath.Join(folder, name) }
	return errors.Join(os.WriteFile(in("broker.key"), []byte(made.Data.Key), 0o600),
		os.WriteFile(in("egress.toml"), fmt.Appendf(nil, `key_file = %q
socket = %q

[[listener]]
address = %q
sandbox_id = "sb_1"
ca_file = %q
upstream_ca_file = %q
`, in("broker.key"), in("egress.sock"), address, in("ca.pem"), upstreamCA), 0o600))
}

// putBehind stores a secret that may be sent to the server behind the broker, and binds it as a placeholder.
func (s *scriptVault) putBehind(env, value string) {
	s.ids[env] = s.PutSecret(s.tb, map[string]any{
		"name": "the " + env, "value": value, "delivery": api.DeliverPlaceholder, "expose_as_env": env,
		"resource_type": sandbox.Type, "resource_id": sandbox.ID,
		"egress": map[string]any{"hosts": []string{s.upstreamHost}, "ports": []int{s.upstreamPort}},
	})
}

// egressURL is the variable that makes the test binary a client: of Go's standard library, for a request to that URL.
const egressURL = "MIOSA_TEST_EGRESS_URL"

// playClient sends a request with a placeholder and prints the answer. It returns the exit code.
func playClient(url string) int {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err == nil {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
		var response *http.Response
		if response, err = http.DefaultClient.Do(r); err == nil {
			defer func() { _ = response.Body.Close() }()
			_, err = io.Copy(os.Stdout, response.Body)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
