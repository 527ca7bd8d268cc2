package fetch_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// authority signs certificates. file is its CA file.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().AddDate(-20, 0, 0), NotAfter: time.Now().AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, file}
}

// leaf returns a signed server certificate for 127.0.0.1 and localhost, modified by change.
func (a *authority) leaf(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "vault of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS is serve over TLS.
func serveTLS(t *testing.T, config *tls.Config, answer func(n int, w http.ResponseWriter, r *http.Request)) *script {
	t.Helper()
	s := &script{}
	s.Server = httptest.NewUnstartedServer(s.handler(answer))
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // failing handshakes are expected
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	for _, tt := range []struct {
		name    string
		ca      string
		leaf    func(*x509.Certificate)
		change  func(*tls.Config)
		reason  fetch.Reason // "": success
		message string
		hint    string
	}{
		{name: "private authority", ca: ours.file},
		{name: "TLS 1.2", ca: ours.file, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
			reason: fetch.TLSFailed, message: "does not support TLS 1.3", hint: "let the vault"},
		{name: "TLS 1.1", ca: ours.file, change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
			reason: fetch.TLSFailed, message: "does not support TLS 1.3", hint: "let the vault"},
		{name: "another authority", ca: other.file, reason: fetch.UnknownCA, message: "authority", hint: "--ca-file"},
		{name: "the system's authorities", reason: fetch.UnknownCA, message: "authority", hint: "--ca-file"},
		{name: "expired", ca: ours.file, leaf: func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)
		}, reason: fetch.Clock, message: "expired", hint: "clock"},
		{name: "not valid yet", ca: ours.file, leaf: func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(10, 0, 0), time.Now().AddDate(11, 0, 0)
		}, reason: fetch.Clock, message: "isn't valid yet", hint: "clock"},
		{name: "another name", ca: ours.file, leaf: func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"vault.example.com"}
		}, reason: fetch.WrongName, message: "another name", hint: "MIOSA_BASE_URL"},
		{name: "not a server's", ca: ours.file, leaf: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, reason: fetch.TLSFailed, message: "certificate", hint: "certificate"},
		{name: "wants a certificate of ours", ca: ours.file, change: func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
			reason: fetch.TLSFailed, message: "handshake", hint: "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := &tls.Config{Certificates: []tls.Certificate{ours.leaf(t, tt.leaf)}}
			if tt.change != nil {
				tt.change(config)
			}
			vault := serveTLS(t, config, func(_ int, w http.ResponseWriter, r *http.Request) {
				if r.TLS.Version < tls.VersionTLS13 || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer msk_r_") {
					t.Errorf("asked over %s", tls.VersionName(r.TLS.Version))
				}
				answerJSON(w, 200, seal(t, r, set()))
			})
			err := reveal(t, client(t, vault.URL, func(c *fetch.Config) { c.CAFile = tt.ca }))
			if tt.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || problem.Reason != tt.reason || !strings.Contains(problem.Message, tt.message) || !strings.Contains(problem.Fix, tt.hint) || api.Temporary(err) {
				t.Errorf("error %v (%+v), want %s", err, problem, tt.reason)
			}
			if n := len(vault.times()); n != 0 {
				t.Errorf("%d requests, want 0", n)
			}
		})
	}
}

// TestCAFileWithMark: a CA file may begin with a byte order mark and use CRLF, as Windows saves it.
func TestCAFileWithMark(t *testing.T) {
	ours := newAuthority(t)
	pem, err := os.ReadFile(ours.file)
	if err != nil {
		t.Fatal(err)
	}
	marked := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(marked, append([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(pem, []byte("\n"), []byte("\r\n"))...), 0o600); err != nil {
		t.Fatal(err)
	}
	vault := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ours.leaf(t, nil)}},
		func(_ int, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) })
	if err := reveal(t, client(t, vault.URL, func(c *fetch.Config) { c.CAFile = marked })); err != nil {
		t.Error(err)
	}
}

// TestSystemBundle: a root that is not in the system's bundle is searched for in the other system roots, during
// the same handshake.
func TestSystemBundle(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	t.Setenv("SSL_CERT_FILE", "")
	t.Setenv("SSL_CERT_DIR", "")
	for _, tt := range []struct {
		name, bundle string
		known        bool
	}{
		{"knows the authority", ours.file, true},
		{"doesn't", other.file, false},
		{"is missing", other.file + "x", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fetch.Bundle(t, tt.bundle)
			var handshakes atomic.Int32
			vault := serveTLS(t, &tls.Config{
				Certificates:       []tls.Certificate{ours.leaf(t, nil)},
				GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { handshakes.Add(1); return nil, nil },
			}, func(_ int, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) })
			err := reveal(t, client(t, vault.URL))
			problem, _ := errors.AsType[*fetch.Problem](err)
			if (err == nil) != tt.known || !tt.known && (problem == nil || problem.Reason != fetch.UnknownCA) {
				t.Errorf("error %v", err)
			}
			if n := handshakes.Load(); n != 1 {
				t.Errorf("%d handshakes, want 1", n)
			}
		})
	}
}

func TestClockSkew(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ahead time.Duration
	}{{"right", 0}, {"ten years ahead", 87600 * time.Hour}, {"ten years behind", -87600 * time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(-tt.ahead).UTC().Format(http.TimeFormat))
				answerJSON(w, 200, seal(t, r, set()))
			})
			c := client(t, vault.URL)
			if _, known := c.ClockSkew(); known {
				t.Error("known before the first answer")
			}
			if err := reveal(t, c); err != nil {
				t.Fatal(err)
			}
			if skew, known := c.ClockSkew(); !known || (skew-tt.ahead).Abs() > time.Minute {
				t.Errorf("skew %s, known %v, want %s", skew, known, tt.ahead)
			}
		})
	}
}

// A response that is read long after it was sent barely affects the clock skew.
func TestClockSkewOfSlowAnswers(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	after := func(seconds int) time.Time { return at.Add(time.Duration(seconds) * time.Second) }
	type answer struct {
		date, began, now int // in seconds after the start, date by the vault's clock
		want             int
	}
	for _, tt := range []struct {
		name    string
		answers []answer
	}{
		{"at once", []answer{{0, 0, 0, 0}, {50, 0, 50, 0}}},
		{"a wait's end", []answer{{0, 0, 0, 0}, {40, 0, 40, 0}}},
		{"stopped while the answer lay there", []answer{{0, 0, 0, 0}, {10, 1, 400, 0}, {500, 450, 500, 0}}},
		{"stopped before anything is known", []answer{{10, 1, 400, 0}}},
		{"ten minutes ahead", []answer{{0, 600, 600, 600}, {50, 600, 650, 600}, {60, 651, 1000, 600}}},
		{"ten minutes behind", []answer{{600, 0, 0, -600}, {650, 0, 50, -600}}},
		{"set right in time", []answer{{0, 600, 600, 600}, {50, 600, 50, 0}}},
		{"set wrong in time", []answer{{0, 0, 0, 0}, {50, 0, 650, 0}, {100, 650, 700, 600}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, "http://127.0.0.1:1")
			for i, a := range tt.answers {
				c.NoteClock(after(a.date), after(a.began), after(a.now))
				if skew, known := c.ClockSkew(); !known || skew != time.Duration(a.want)*time.Second {
					t.Errorf("after answer %d: skew %s, want %d s", i+1, skew, a.want)
				}
			}
		})
	}
}
