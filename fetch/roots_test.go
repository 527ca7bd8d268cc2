//go:build linux

package fetch_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/google/go-cmp/cmp"
)

// certificate is a certificate with its key.
type certificate struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue creates a CA certificate for subject, modified by change. It is signed by issuer, or by itself if issuer
// is nil. If key is nil, a new one is created.
func issue(t *testing.T, subject string, issuer *certificate, key *ecdsa.PrivateKey, change ...func(*x509.Certificate)) *certificate {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: subject},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(2, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, f := range change {
		f(template)
	}
	if issuer == nil {
		issuer = &certificate{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &certificate{parsed, key}
}

// isServer turns a certificate into one of a server at 127.0.0.1 and localhost.
func isServer(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
}

func isExpired(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(-1, 0, 0) }

func pemOf(certs ...*certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// handshakes is the report of TestSystemRootsChild: the errors of a handshake by crypto/tls alone and by the
// client's configuration; "" for none.
type handshakes struct {
	Standard, Ours string
	Narrow         bool         // the client's configuration does not leave the check to crypto/tls
	Client         fetch.Reason // why a client's call failed
}

// TestSystemRoots compares the verification of server certificates against the system's roots with that of
// crypto/tls. Each case runs in its own process, because crypto/x509 reads the system's roots once.
func TestSystemRoots(t *testing.T) {
	root, other := issue(t, "root", nil, nil), issue(t, "other root", nil, nil)
	namesake, stranger := issue(t, "root", nil, nil), issue(t, "stranger", nil, nil)
	middle := issue(t, "intermediate", root, nil)
	crossed := issue(t, "intermediate", other, middle.key)
	newRoot := issue(t, "new root", nil, nil)
	newRootByOld := issue(t, "new root", root, newRoot.key)
	oldRoot := issue(t, "old root", nil, nil, isExpired)
	long := issue(t, strings.Repeat("a very long name ", 100), nil, nil)
	noAuthority := issue(t, "no authority", root, nil, func(c *x509.Certificate) { c.IsCA = false })
	limited := func(to string) *certificate {
		return issue(t, "limited root", nil, nil, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{to}
		})
	}
	elsewhere, local := limited("example.com"), limited("localhost")
	server := func(issuer *certificate, change ...func(*x509.Certificate)) *certificate {
		return issue(t, "vault", issuer, nil, append([]func(*x509.Certificate){isServer}, change...)...)
	}
	alone := server(nil)
	byRoot := server(root)
	others := pemOf(other, stranger)
	headers := strings.Replace(pemOf(root), "-----\n", "-----\nComment: x\n\n", 1)
	broken := strings.Replace(pemOf(stranger), "\nM", "\n!", 1)
	for _, tt := range []struct {
		name    string
		served  []*certificate
		bundle  string
		folder  string // contents of a file in SSL_CERT_DIR
		host    string // "": 127.0.0.1
		message string // "": success
	}{
		{name: "one of several roots", served: []*certificate{byRoot}, bundle: others + pemOf(root, newRoot)},
		{name: "by name", served: []*certificate{byRoot}, bundle: others + pemOf(root), host: "localhost"},
		{name: "unknown root", served: []*certificate{byRoot}, bundle: others, message: "unknown authority"},
		{name: "no roots", served: []*certificate{byRoot}, message: "unknown authority"},
		{name: "intermediate", served: []*certificate{server(middle), middle}, bundle: others + pemOf(root)},
		{name: "intermediate missing", served: []*certificate{server(middle)}, bundle: others + pemOf(root), message: "unknown authority"},
		{name: "intermediate is a root here", served: []*certificate{server(middle)}, bundle: others + pemOf(middle)},
		{name: "intermediate that isn't an authority", served: []*certificate{server(noAuthority), noAuthority}, bundle: pemOf(root), message: "cannot sign this kind"},
		{name: "root presented", served: []*certificate{byRoot, root}, bundle: others + pemOf(root)},
		{name: "unknown root presented", served: []*certificate{byRoot, root}, bundle: others, message: "unknown authority"},
		{name: "unrelated certificates presented", served: []*certificate{byRoot, stranger, middle}, bundle: others + pemOf(root)},
		{name: "two roots of a name, right one first", served: []*certificate{byRoot}, bundle: pemOf(root, namesake)},
		{name: "two roots of a name, right one last", served: []*certificate{byRoot}, bundle: pemOf(namesake, root)},
		{name: "another root of the name", served: []*certificate{byRoot}, bundle: pemOf(namesake), message: "unknown authority"},
		{name: "cross-signed intermediate", served: []*certificate{server(middle), middle, crossed}, bundle: pemOf(stranger, other)},
		{name: "cross-signed root, new one known", served: []*certificate{server(newRoot), newRootByOld}, bundle: pemOf(stranger, newRoot)},
		{name: "cross-signed root, old one known", served: []*certificate{server(newRoot), newRootByOld}, bundle: pemOf(stranger, root)},
		{name: "server's own certificate is a root", served: []*certificate{alone}, bundle: others + pemOf(alone)},
		{name: "server's own certificate is a root, its issuer isn't", served: []*certificate{byRoot}, bundle: others + pemOf(byRoot)},
		{name: "server's own certificate", served: []*certificate{alone}, bundle: others, message: "unknown authority"},
		{name: "expired root", served: []*certificate{server(oldRoot)}, bundle: others + pemOf(oldRoot), message: "expired"},
		{name: "expired", served: []*certificate{server(root, isExpired)}, bundle: pemOf(root), message: "expired"},
		{name: "expired, of an unknown root", served: []*certificate{server(root, isExpired)}, bundle: others, message: "expired"},
		{name: "another name", served: []*certificate{byRoot}, bundle: pemOf(root), host: "a.localhost", message: "not a.localhost"},
		{name: "another address", served: []*certificate{server(root, func(c *x509.Certificate) { c.IPAddresses = nil })},
			bundle: pemOf(root), message: "IP SANs"},
		{name: "not a server's", served: []*certificate{server(root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})}, bundle: pemOf(root), message: "incompatible key usage"},
		{name: "root for other names", served: []*certificate{server(elsewhere)}, bundle: pemOf(elsewhere), message: "not authorized to sign for this name"},
		{name: "root for this name", served: []*certificate{server(local)}, bundle: pemOf(local), host: "localhost"},
		{name: "long name", served: []*certificate{server(long)}, bundle: others + pemOf(long)},
		{name: "only in the folder", served: []*certificate{byRoot}, bundle: others, folder: pemOf(root)},
		{name: "comments", served: []*certificate{byRoot}, bundle: "# ours: of today\n\n" + others + "# root\n" + pemOf(root) + "\nend"},
		{name: "Windows lines", served: []*certificate{byRoot}, bundle: strings.ReplaceAll(others+pemOf(root), "\n", "\r\n")},
		{name: "no end of the last line", served: []*certificate{byRoot}, bundle: others + strings.TrimSuffix(pemOf(root), "\n")},
		{name: "headers", served: []*certificate{byRoot}, bundle: others + headers, message: "unknown authority"},
		{name: "another type", served: []*certificate{byRoot}, bundle: others + strings.ReplaceAll(pemOf(root), "CERT", "TRUSTED CERT"), message: "unknown authority"},
		{name: "after another type", served: []*certificate{byRoot}, bundle: strings.ReplaceAll(others, "CERT", "TRUSTED CERT") + pemOf(root)},
		{name: "after a broken one", served: []*certificate{byRoot}, bundle: broken + pemOf(root)},
		{name: "after one that has no end", served: []*certificate{byRoot}, bundle: "-----BEGIN CERTIFICATE-----\nMIIB\n" + pemOf(root)},
		{name: "indented", served: []*certificate{byRoot}, bundle: others + " " + pemOf(root), message: "unknown authority"},
		{name: "byte order mark", served: []*certificate{byRoot}, bundle: "\xef\xbb\xbf" + pemOf(root), message: "unknown authority"},
		{name: "cut off", served: []*certificate{byRoot}, bundle: pemOf(root)[:300], message: "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var chain [][]byte
			for _, c := range tt.served {
				chain = append(chain, c.Raw)
			}
			vault := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: tt.served[0].key}}},
				func(_ int, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) })
			address := vault.URL
			if tt.host != "" {
				address = strings.Replace(address, "127.0.0.1", tt.host, 1)
			}
			got := inProcess(t, address, tt.bundle, tt.folder)
			if !got.Narrow {
				t.Error("the check was left to crypto/tls")
			}
			now := regexp.MustCompile(`current time \S+`) // it may differ by a second
			if diff := cmp.Diff(now.ReplaceAllString(got.Standard, ""), now.ReplaceAllString(got.Ours, "")); diff != "" {
				t.Errorf("errors (-crypto/tls +ours):\n%s", diff)
			}
			if tt.message == "" && got.Ours != "" || !strings.Contains(got.Ours, tt.message) {
				t.Errorf("error %q, want %q", got.Ours, tt.message)
			}
			if (got.Client == "") != (tt.message == "") {
				t.Errorf("a client's call: %q", got.Client)
			}
		})
	}
}

// inProcess makes a process with these system roots connect to the server.
func inProcess(t *testing.T, address, bundle, folder string) (got handshakes) {
	t.Helper()
	dir := t.TempDir()
	file, more, result := filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "more"), filepath.Join(dir, "result")
	if err := os.Mkdir(more, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{file: bundle, filepath.Join(more, "root.pem"): folder} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSystemRootsChild$")
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+file, "SSL_CERT_DIR="+more, "ROOTS_SERVER="+address, "ROOTS_RESULT="+result)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestSystemRootsChild is the process that TestSystemRoots starts.
func TestSystemRootsChild(t *testing.T) {
	server, err := url.Parse(os.Getenv("ROOTS_SERVER"))
	if err != nil {
		t.Fatal(err)
	}
	if server.Host == "" {
		return // started by TestSystemRoots only
	}
	standard := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: server.Hostname()}
	ours := standard.Clone()
	fetch.TrustSystem(ours, server.Hostname())
	result := handshakes{Narrow: ours.InsecureSkipVerify && ours.VerifyConnection != nil}
	// The client's configuration first, so that it does not profit from roots that are already parsed.
	for _, attempt := range []struct {
		config *tls.Config
		err    *string
	}{{ours, &result.Ours}, {standard, &result.Standard}} {
		c, err := (&tls.Dialer{Config: attempt.config}).DialContext(t.Context(), "tcp", "127.0.0.1:"+server.Port())
		if err != nil {
			*attempt.err = err.Error()
			continue
		}
		_ = c.Close()
	}
	c := client(t, server.String())
	if problem, ok := errors.AsType[*fetch.Problem](reveal(t, c)); ok {
		result.Client = problem.Reason
	}
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("ROOTS_RESULT"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNoTLSResumption: each connection does a full handshake, so a changed certificate is verified.
func TestNoTLSResumption(t *testing.T) {
	trusted, other := newAuthority(t), newAuthority(t)
	t.Setenv("SSL_CERT_FILE", "")
	fetch.Bundle(t, trusted.file)
	var shown atomic.Pointer[tls.Certificate]
	show := func(c tls.Certificate) { shown.Store(&c) }
	show(trusted.leaf(t, nil))
	current := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*shown.Load()}}, nil
	}
	vault := serveTLS(t, &tls.Config{GetConfigForClient: current},
		func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.TLS.DidResume {
				t.Error("a session was resumed")
			}
			w.Header().Set("Connection", "close")
			answerJSON(w, 200, seal(t, r, set()))
		})
	c := client(t, vault.URL)
	for range 2 {
		if err := reveal(t, c); err != nil {
			t.Fatal(err)
		}
	}
	show(other.leaf(t, nil))
	if problem, ok := errors.AsType[*fetch.Problem](reveal(t, c)); !ok || problem.Reason != fetch.UnknownCA {
		t.Errorf("error %v, want %s", problem, fetch.UnknownCA)
	}
}

// FuzzCertificatesNaming: every certificate that is parsed is one that encoding/pem finds in the whole bundle, and
// every certificate with the name is parsed.
func FuzzCertificatesNaming(f *testing.F) {
	const one, two = "-----BEGIN CERTIFICATE-----\nMAFhMAFi\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nMAFjMAFk\n-----END CERTIFICATE-----\n"
	for _, bundle := range []string{
		"", one, one + two, "# comment\n" + two + "\n" + one, two + one[:40], one[40:] + two, "x" + one, one + "x: y\n" + two,
		"-----BEGIN CERTIFICATE-----\nA: b\n\nMAFh\n-----END CERTIFICATE-----\n" + one, "-----BEGIN CERTIFICATE-----\n" + one,
		"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" + one, one + "-----END CERTIFICATE-----\n" + two,
		strings.ReplaceAll(one, "MAFh", "MA!h") + one, strings.ReplaceAll(one+two, "\n", "\r\n"), "-----BEGIN X-----\n" + one + "-----END X-----\n" + two,
		strings.ReplaceAll(one, "-----\n", "-----  \n") + two, strings.ReplaceAll(one, "MAFh", "MA Fh"),
	} {
		f.Add([]byte(bundle), []byte("\x30\x01a"))
	}
	f.Fuzz(func(t *testing.T, bundle, name []byte) {
		if len(name) == 0 {
			return // no certificate has an empty name
		}
		all, got := certificatesIn(bundle), certificatesIn(fetch.CertificatesNaming(bundle, [][]byte{name}))
		rest := got
		for _, der := range all {
			switch found := len(rest) > 0 && bytes.Equal(rest[0], der); {
			case found:
				rest = rest[1:]
			case len(bundle) <= 1024 && bytes.Contains(der, name): // of a longer bundle, only the beginning is searched
				t.Errorf("%x isn't in it", der)
			}
		}
		if len(rest) > 0 {
			t.Errorf("%x is in it, and not in the bundle", rest[0])
		}
	})
}

// certificatesIn returns what x509.CertPool.AppendCertsFromPEM accepts as certificates.
func certificatesIn(bundle []byte) (ders [][]byte) {
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return ders
		}
		if block.Type == "CERTIFICATE" && len(block.Headers) == 0 {
			ders = append(ders, block.Bytes)
		}
	}
}

func BenchmarkCertificatesNaming(b *testing.B) {
	bundle, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		needs.System(b, "the system's root certificates: %v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		fetch.CertificatesNaming(bundle, [][]byte{[]byte("a name that no certificate has"), []byte("another one")})
	}
}
