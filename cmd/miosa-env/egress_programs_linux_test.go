package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// Programs that run --egress starts find the broker and trust it: each sends a request with its placeholder, the server gets the
// value, and what it repeats is masked, without an option of the program.
func TestEgressPrograms(t *testing.T) {
	t.Parallel()
	host := ownAddress(t)
	folder := t.TempDir()
	s := newScriptVault(t)
	var upstreamCA string
	s.upstreamHost = host
	s.upstreamPort, upstreamCA = upstream(t, host)
	s.putBehind("TOKEN", "canary-value-of-the-secret")
	address := startBroker(t, s, folder, upstreamCA)
	url := fmt.Sprintf("https://%s/", net.JoinHostPort(host, fmt.Sprint(s.upstreamPort)))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	python := func(module string) []string {
		return []string{"/usr/bin/python3", "/usr/lib/python3/dist-packages/" + module + "/__init__.py"}
	}
	for _, tt := range []struct {
		name  string
		needs []string
		words []string
		want  string
	}{
		{name: "curl", needs: []string{"curl"}, words: []string{"sh", "-c", `curl -sS -H "Authorization: Bearer $TOKEN" $URL`}},
		{name: "git", needs: []string{"git"}, words: []string{"sh", "-c", `git -c http.extraHeader="Authorization: Bearer $TOKEN" ls-remote ${URL}repository`}},
		{name: "wget", needs: []string{"wget"}, words: []string{"sh", "-c", `wget -qO- --header "Authorization: Bearer $TOKEN" $URL`}},
		{name: "openssl", needs: []string{"openssl"}, want: "Verify return code: 0 (ok)", words: []string{"sh", "-c", "openssl s_client -proxy ${HTTPS_PROXY#http://} -connect " + net.JoinHostPort(host, fmt.Sprint(s.upstreamPort)) + " -verify_return_error </dev/null"}},
		{name: "urllib", needs: python("requests")[:1], words: []string{"/usr/bin/python3", "-c", `import os, urllib.request as u; print(u.urlopen(u.Request(os.environ["URL"], headers={"Authorization": "Bearer " + os.environ["TOKEN"]})).read().decode())`}},
		{name: "requests", needs: python("requests"), words: []string{"/usr/bin/python3", "-c", `import os, requests; print(requests.get(os.environ["URL"], headers={"Authorization": "Bearer " + os.environ["TOKEN"]}).text)`}},
		{name: "httpx", needs: python("httpx"), words: []string{"/usr/bin/python3", "-c", `import os, httpx; print(httpx.get(os.environ["URL"], headers={"Authorization": "Bearer " + os.environ["TOKEN"]}).text)`}},
		{name: "node", needs: []string{"node"}, words: []string{"node", "-e", `fetch(process.env.URL, {headers: {Authorization: "Bearer " + process.env.TOKEN}}).then(r => r.text()).then(console.log)`}},
		{name: "node https", needs: []string{"node"}, words: []string{"node", "-e", `require("https").get(process.env.URL, {headers: {Authorization: "Bearer " + process.env.TOKEN}}, r => r.pipe(process.stdout))`}},
		{name: "java", needs: []string{"java"}, words: []string{"java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "testdata/Fetch.java"}},
		{name: "go", words: []string{"env", egressURL + "=" + url, self}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needs.File(t, tt.needs...)
			if tt.words[0] == "node" && exec.Command("node", "-e", `process.exit(process.allowedNodeEnvironmentFlags.has("--use-env-proxy") ? 0 : 1)`).Run() != nil {
				needs.NewerNode(t, "22.21 or newer for NODE_USE_ENV_PROXY")
			}
			c := exec.CommandContext(t.Context(), filepath.Join(built, "miosa-env"), append([]string{"run", "--egress", "http://" + address, "--"}, tt.words...)...)
			c.Env = environ(map[string]string{
				"HOME": t.TempDir(), "URL": url, "MIOSA_BASE_URL": s.BaseURL, "MIOSA_API_KEY": s.key.Reveal(), "MIOSA_SANDBOX_ID": sandbox.ID,
			})
			var stderr bytes.Buffer
			c.Stderr = &stderr
			out, err := c.Output()
			want := tt.want
			if want == "" {
				want = "you sent Bearer " + strings.Repeat("*", len("canary-value-of-the-secret"))
			}
			if err != nil || !strings.Contains(strings.ReplaceAll(string(out), "-", " "), want) {
				t.Errorf("%v: %s%s", err, out, &stderr)
			}
		})
	}
}

// startBroker starts miosa-egress for the vault's sandbox until the test ends, and returns the address of its listener.
func startBroker(t *testing.T, s *scriptVault, folder, upstreamCA string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	if err := s.configureBroker(folder, address, upstreamCA); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := exec.Command(filepath.Join(built, "miosa-egress"), "serve", "--config", filepath.Join(folder, "egress.toml"))
	c.Env, c.Stderr = environ(map[string]string{"MIOSA_BASE_URL": s.BaseURL}), &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if !poll.Within(time.Minute, func() bool {
		return exec.Command(filepath.Join(built, "miosa-egress"), "status", "--socket", filepath.Join(folder, "egress.sock")).Run() == nil
	}) {
		t.Fatal("the broker doesn't start")
	}
	return address
}

// ownAddress returns an address of this machine other than loopback ones, which many programs use no proxy for.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if at, err := netip.ParsePrefix(a.String()); err == nil && at.Addr().Is4() && !at.Addr().IsLoopback() && !at.Addr().IsLinkLocalUnicast() {
			return at.Addr().String()
		}
	}
	needs.System(t, "an IPv4 address besides loopback")
	return ""
}
