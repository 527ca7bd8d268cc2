package containertest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// The broker's image serves a sandbox, in a container without privileges and without a writable root.
func TestBroker(t *testing.T) {
	s := newFixture(t)
	const image = "localhost/miosa-egress"
	if err := os.MkdirAll(filepath.Join(s.dir, "stage/out/data"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.must(t, "build", "-t", image, "-f", "packaging/egress/Dockerfile", ".")
	certificate, certFile, _ := vaulttest.Certificate(t)
	received := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.Header.Get("Authorization") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, placeholder := s.PutPlaceholder(t, "api", "canary-of-a-broker", api.EgressRule{
		Hosts: []string{"127.0.0.1"}, Ports: []int{server.Listener.Addr().(*net.TCPAddr).Port},
	}, sandbox, "API_TOKEN")
	key, _ := s.MintBrokerKey(t, sandbox)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"egress.toml": fmt.Sprintf("base_url = %q\nkey_file = \"/etc/miosa-egress/key\"\n\n[[listener]]\naddress = %q\nsandbox_id = %q\nupstream_ca_file = \"/servers.pem\"\n",
			s.BaseURL, address, sandbox.ID),
		"key": key.Reveal() + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "key"), agentUser, agentUser); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "key"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(certFile, 0o644); err != nil {
		t.Fatal(err)
	}
	c := s.start(t, nil, append(restricted, "--tmpfs=/run", "--volume="+dir+":/etc/miosa-egress:ro", "--volume="+certFile+":/servers.pem:ro", image)...)
	c.within(t, "fresh", "/miosa-egress", "status")

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(s.must(t, "exec", c.id, "/miosa-egress", "ca", sandbox.String()))) {
		t.Fatal("miosa-egress ca prints no certificate")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: address}), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+placeholder)
	res, err := client.Do(r)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.log(t))
	}
	text, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", res.StatusCode, text)
	}
	if got := <-received; got != "Bearer canary-of-a-broker" {
		t.Errorf("the server received something else than the value, in %d bytes", len(got))
	}
	c.prints(t, "keeping values in memory memory=")
	if code, _ := c.stop(t, 30); code != "0" {
		t.Errorf("exit code %s, want 0", code)
	}
	if log := c.log(t); strings.Contains(log, "canary") || strings.Contains(log, "msk_b_") {
		t.Error("the log has a value or a key")
	}
}
