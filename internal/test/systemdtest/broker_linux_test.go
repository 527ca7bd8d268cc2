package systemdtest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// The unit of the broker works with all of its restrictions: it serves a sandbox, as its own user, and is started again with the
// same CA when it was killed.
func TestBroker(t *testing.T) {
	needed(t)
	s := vaulttest.Start(t)
	sandbox := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	certificate, certFile, _ := vaulttest.Certificate(t)
	received := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.Header.Get("Authorization") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, placeholder := s.PutPlaceholder(t, "api", canary1, api.EgressRule{
		Hosts: []string{"127.0.0.1"}, Ports: []int{server.Listener.Addr().(*net.TCPAddr).Port},
	}, sandbox, "API_TOKEN")
	key, _ := s.MintBrokerKey(t, sandbox)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())

	m := newMachine(t)
	program := filepath.Join(t.TempDir(), "miosa-egress")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../../../cmd/miosa-egress")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	binary, err := os.ReadFile(program)
	must(t, err)
	m.write("/usr/bin/miosa-egress", string(binary), 0o755)
	m.write("/usr/lib/systemd/system/miosa-egress.service", read(t, "systemd/miosa-egress.service"), 0o644)
	m.write("/usr/lib/sysusers.d/miosa-egress.conf", read(t, "systemd/miosa-egress.sysusers.conf"), 0o644)
	m.write("/usr/lib/tmpfiles.d/miosa-egress.conf", read(t, "systemd/miosa-egress.tmpfiles.conf"), 0o644)
	servers, err := os.ReadFile(certFile)
	must(t, err)
	m.write("/etc/miosa-egress/servers.pem", string(servers), 0o644)
	m.write("/etc/miosa-egress/key", key.Reveal()+"\n", 0o600)
	config := strings.NewReplacer(`#base_url = "https://vault.example.com"`, `base_url = "`+s.BaseURL+`"`, "10.200.1.1:3128", address).Replace(read(t, "systemd/egress.toml"))
	_, listener, found := strings.Cut(config, "#[[listener]]\n")
	if !found {
		t.Fatal("systemd/egress.toml proposes no listener")
	}
	config = strings.Replace(config, "#[[listener]]\n"+listener, "[[listener]]\n"+strings.ReplaceAll(listener, "#", ""), 1) + "upstream_ca_file = \"/etc/miosa-egress/servers.pem\"\n"
	m.write("/etc/miosa-egress/egress.toml", config, 0o644)
	m.boot()
	const check = "miosa-egress check --key-file /etc/miosa-egress/key\n"
	m.shell("systemd-sysusers miosa-egress.conf\nsystemd-tmpfiles --create miosa-egress.conf\n" + check + "systemctl enable --now miosa-egress.service")
	if out := m.does("systemd-analyze", "verify", "miosa-egress.service"); out != "" {
		t.Errorf("systemd-analyze verify says\n%s", out)
	}
	m.does("systemd-analyze", "security", "--threshold=15", "miosa-egress.service")
	m.eventually("the broker has its set", time.Minute, func() bool {
		_, err := m.run("miosa-egress", "status")
		return err == nil
	})
	authority := m.does("cat", "/run/miosa-egress/sb_1.pem")
	m.swaps(address, authority, server.URL, placeholder, received)
	if out := m.does("stat", "-c", "%a %U", "/run/miosa-egress/sb_1.pem", "/run/miosa-egress/egress.sock", "/var/lib/miosa-egress-ca/sb_1", "/var/lib/miosa-egress"); out !=
		"644 miosa-egress\n600 miosa-egress\n600 miosa-egress\n700 miosa-egress" {
		t.Errorf("files:\n%s", out)
	}
	m.shell(check) // of files that are the service's
	pid := m.show("miosa-egress.service", "MainPID")
	if as, user := m.does("sed", "-n", `s/^Uid:\t\([0-9]*\).*/\1/p`, "/proc/"+pid+"/status"), m.does("id", "-u", "miosa-egress"); as != user || as == "0" {
		t.Errorf("the broker runs as user %s, want %s", as, user)
	}
	m.does("sh", "-c", "kill -KILL "+pid)
	m.eventually("the broker is there again", time.Minute, func() bool {
		_, err := m.run("miosa-egress", "status")
		return err == nil && m.show("miosa-egress.service", "MainPID") != pid
	})
	m.swaps(address, authority, server.URL, placeholder, received)
	m.does("systemctl", "reload", "miosa-egress.service")
	m.does("systemctl", "stop", "miosa-egress.service")
	m.does("sh", "-c", "test $(systemctl show -p Result --value miosa-egress.service) = success")
	journal := m.does("journalctl", "-u", "miosa-egress.service", "-o", "cat")
	for _, secret := range []string{canary1, key.Reveal()} {
		if strings.Contains(journal, secret) {
			t.Error("the journal has a value or the key")
		}
	}
}

// swaps checks that a client of a broker, which trusts an authority, sends a value with a placeholder.
func (m *machine) swaps(broker, authority, to, placeholder string, received <-chan string) {
	m.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(authority)) {
		m.Fatalf("no certificate: %s", authority)
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: broker}), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	r, err := http.NewRequestWithContext(m.Context(), http.MethodGet, to, nil)
	must(m.T, err)
	r.Header.Set("Authorization", "Bearer "+placeholder)
	res, err := client.Do(r)
	must(m.T, err)
	text, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		m.Fatalf("status %d: %s", res.StatusCode, text)
	}
	if got := <-received; got != "Bearer "+canary1 {
		m.Errorf("the server received something else than the value, in %d bytes", len(got))
	}
}
