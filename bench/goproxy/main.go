// Goproxy is a proxy of github.com/elazarl/goproxy that replaces a placeholder in headers, for bench/egress to compare with. It is a
// module of its own, so that the products don't depend on that library.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
)

// setup is what the program reads from standard input: some fields of bench/egress's setup.
type setup struct {
	Roots              []byte
	Placeholder, Value string
}

// ready is what it prints when it accepts connections.
type ready struct {
	Address string
	CA      []byte
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "goproxy: %v\n", err)
		os.Exit(1)
	}
}

// run is a proxy until standard input ends.
func run(stdin io.Reader, stdout io.Writer) error {
	in := json.NewDecoder(stdin)
	var c setup
	if err := in.Decode(&c); err != nil {
		return err
	}
	authority, text, err := newAuthority()
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Roots)
	proxy := goproxy.NewProxyHttpServer()
	proxy.Logger = log.New(io.Discard, "", 0)
	proxy.CertStore = &leaves{kept: map[string]*tls.Certificate{}}
	proxy.Tr = &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)},
		ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 64,
	}
	decrypt := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(authority)}
	proxy.OnRequest().HandleConnect(goproxy.FuncHttpsHandler(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		return decrypt, host
	}))
	proxy.OnRequest().DoFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		for _, values := range r.Header {
			for i, v := range values {
				values[i] = strings.ReplaceAll(v, c.Placeholder, c.Value)
			}
		}
		return r, nil
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = in.Decode(&struct{}{}); _ = server.Close() }()
	if err := json.NewEncoder(stdout).Encode(ready{l.Addr().String(), text}); err != nil {
		return err
	}
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// newAuthority makes a certificate authority, in place of the one whose key is part of the library.
func newAuthority() (*tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	template.Subject.CommonName = "goproxy"
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// leaves keeps certificates. It implements goproxy.CertStorage.
type leaves struct {
	mu   sync.Mutex // guards kept
	kept map[string]*tls.Certificate
}

// Fetch implements goproxy.CertStorage.
func (l *leaves) Fetch(host string, make func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.kept[host]; c != nil {
		return c, nil
	}
	c, err := make()
	if err == nil {
		l.kept[host] = c
	}
	return c, err
}
