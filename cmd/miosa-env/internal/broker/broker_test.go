package broker

import (
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

func TestOf(t *testing.T) {
	for _, tt := range []struct{ name, url, want, err string }{
		{name: "none"},
		{name: "with a port", url: "http://10.200.1.1:3128", want: "10.200.1.1:3128"},
		{name: "with a slash", url: "http://broker:3128/", want: "broker:3128"},
		{name: "without a port", url: "http://broker", want: "broker:80"},
		{name: "IPv6", url: "http://[fd00::1]:3128", want: "[fd00::1]:3128"},
		{name: "without a scheme", url: "broker:3128", err: "isn't http://HOST:PORT"},
		{name: "another scheme", url: "https://broker:3128", err: "isn't http://HOST:PORT"},
		{name: "without a host", url: "http://:3128", err: "isn't http://HOST:PORT"},
		{name: "a password", url: "http://me:canary@broker:3128", err: "has a user name"},
		{name: "a path", url: "http://broker:3128/canary", err: "has more than a host and a port"},
		{name: "a query", url: "http://broker:3128?canary", err: "has more than a host and a port"},
		{name: "port 0", url: "http://broker:0", err: "has a port that isn't from 1 to 65535"},
		{name: "port too large", url: "http://broker:65536", err: "has a port that isn't from 1 to 65535"},
		{name: "a list", url: "http://broker,other:3128", err: "has a host that isn't a name or an address"},
		{name: "an option of Java", url: "http://broker%20-Dx=y:3128", err: "URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &program.Settings{}
			s.Egress = tt.url
			b, err := Of(s)
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v, want %q", err, tt.err)
				}
			case err != nil || (b == nil) != (tt.want == ""):
				t.Errorf("got %v, %v", b, err)
			case b != nil && b.Address() != tt.want:
				t.Errorf("got %s, want %s", b.Address(), tt.want)
			}
		})
	}
}

// What isn't a broker is named by its address, or by the flag and the file, with a hint.
func TestAskOthers(t *testing.T) {
	authority, err := ca.New("sandbox:sb_1", nil)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(file, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	other := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("none")}))
	for _, tt := range []struct {
		name, answer, file, want, hint string
	}{
		{"a web server", "hello", "", "what answers at ADDRESS isn't a broker: its /ca.pem has no certificate in PEM", isListener},
		{"a web server, with an authority", "hello", file, "what answers at ADDRESS isn't a broker: its /ca.pem has no certificate in PEM", isListener},
		{"something else in PEM", other, "", "the certificate authority of the broker at ADDRESS: want the certificate of a certificate authority, as PEM", isListener},
		{"no file", "hello", "nope", "--egress-ca or MIOSA_EGRESS_CA: nope: no such file or directory", "check the path"},
		{"a folder", "hello", folder, "--egress-ca or MIOSA_EGRESS_CA: " + folder + ": is a directory", "check the path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.answer) }))
			defer server.Close()
			s := &program.Settings{}
			s.Egress, s.EgressCA = server.URL, tt.file
			b, err := Of(s)
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Ask(t.Context())
			if want := strings.ReplaceAll(tt.want, "ADDRESS", b.Address()); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if hint := cli.Hint(err); !strings.HasPrefix(hint, tt.hint) {
				t.Errorf("hint %q, want %q", hint, tt.hint)
			}
		})
	}
}

// No binding may set one of the variables.
func TestVariablesAreRefusedNames(t *testing.T) {
	b := &Broker{host: "10.200.1.1", port: "3128"}
	list := b.variables(func(string) string { return "" }, paths{bundle: "/b", store: "/s", wget: "/w"})
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		bound := []api.Bound{{Label: api.Label{ID: "b_1", ExposeAsEnv: name}, Value: api.NewValue([]byte(value))}}
		if _, err := (environ.Environment{Bound: bound}).Build(); !isRefused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(list) < 20 {
		t.Errorf("only %d variables", len(list))
	}
}

// Options of git that are set already stay.
func TestVariablesOfGit(t *testing.T) {
	b := &Broker{host: "10.200.1.1", port: "3128"}
	for _, tt := range []struct {
		count string
		want  []string
	}{
		{"", []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.version", "GIT_CONFIG_VALUE_0=HTTP/1.1"}},
		{"2", []string{"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_2=http.version", "GIT_CONFIG_VALUE_2=HTTP/1.1"}},
		{"two", nil},
	} {
		list := b.variables(func(name string) string { return map[string]string{"GIT_CONFIG_COUNT": tt.count}[name] }, paths{})
		list = slices.DeleteFunc(list, func(entry string) bool { return !strings.HasPrefix(entry, "GIT_CONFIG_") })
		if diff := cmp.Diff(tt.want, list, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("with %q (-want +got):\n%s", tt.count, diff)
		}
	}
}

func isRefused(err error) bool {
	_, refused := errors.AsType[*environ.Refused](err)
	return refused
}

// What the command trusts without the broker stays trusted: the files that its variables name, and the system's unless they are
// replaced.
func TestRoots(t *testing.T) {
	folder := t.TempDir()
	write := func(name string) (path string) {
		a, err := ca.New(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(folder, name)
		if err := os.WriteFile(path, a.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	system, one, two := write("system"), write("one"), write("two")
	before := systemRoots
	systemRoots = []string{filepath.Join(folder, "none"), system, two}
	t.Cleanup(func() { systemRoots = before })
	for _, tt := range []struct {
		name      string
		variables map[string]string
		want      []string
	}{
		{name: "the first of the system's", want: []string{system}},
		{name: "another program's too", variables: map[string]string{"NODE_EXTRA_CA_CERTS": one}, want: []string{one, system}},
		{name: "replaced", variables: map[string]string{"SSL_CERT_FILE": one, "REQUESTS_CA_BUNDLE": one, "DENO_CERT": two}, want: []string{one, two}},
		{name: "missing", variables: map[string]string{"CURL_CA_BUNDLE": filepath.Join(folder, "none")}, want: []string{system}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want [][]byte
			for _, path := range tt.want {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, certificates(text)...)
			}
			got := roots(func(name string) string { return tt.variables[name] })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(want, certificates(bundleOf(got))); diff != "" {
				t.Errorf("the bundle (-want +got)\n%s", diff)
			}
			store, err := trustStoreOf(got)
			if err != nil {
				t.Fatal(err)
			}
			trusted, err := pkcs12.DecodeTrustStore(store, "")
			if err != nil {
				t.Fatal(err)
			}
			var raw [][]byte
			for _, c := range trusted {
				raw = append(raw, c.Raw)
			}
			if diff := cmp.Diff(want, raw); diff != "" {
				t.Errorf("the trust store (-want +got)\n%s", diff)
			}
		})
	}
}

func TestSameMachine(t *testing.T) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if at, ok := a.(*net.IPNet); ok && !at.IP.IsLinkLocalUnicast() && !sameMachine(&net.TCPAddr{IP: at.IP, Port: 1}) {
			t.Errorf("%s isn't of this machine", a)
		}
	}
	for address, want := range map[string]bool{"127.0.0.5": true, "::1": true, "203.0.113.9": false, "2001:db8::9": false} {
		if got := sameMachine(&net.TCPAddr{IP: net.ParseIP(address), Port: 3128}); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}
