package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/ca"
)

// upstream is the server that the proxies send requests to.
type upstream struct {
	*http.Server
	authority *ca.Authority
	port      int
	part      []byte // of a large body
}

// Paths of the server.
const (
	pathSmall  = "/v1/items?page=1" // a small JSON object, which says whether the credentials are those of a proxy
	pathBody   = "/v1/body"         // GET: a large body; POST: reads one
	pathStream = "/v1/stream"       // an event, and nothing more until the client goes
)

// bodySize is that of a large body, in bytes.
const bodySize = 100 << 20

// newUpstream starts the server at a port of loopback; 0: any.
func newUpstream(port int) (*upstream, error) {
	authority, err := ca.New("internet", nil)
	if err != nil {
		return nil, err
	}
	certificate, err := authority.Certificate(host)
	if err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)), &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return nil, err
	}
	up := &upstream{authority: authority, port: l.Addr().(*net.TCPAddr).Port}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789 \n"
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same text each time
	for range 1 << 20 {
		up.part = append(up.part, letters[random.IntN(len(letters))])
	}
	up.Server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(up.answer)}
	go up.Serve(l) //nolint:errcheck // it ends with the program
	return up, nil
}

func (up *upstream) answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == pathStream:
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case r.URL.Path == pathBody && r.Method == http.MethodPost:
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	case r.URL.Path == pathBody:
		w.Header().Set("Content-Length", strconv.Itoa(bodySize))
		for range bodySize / len(up.part) {
			if _, err := w.Write(up.part); err != nil {
				return
			}
		}
	default:
		swapped := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") != placeholder
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"swapped":%v,"text":%q}`, swapped, strings.Repeat("x", 200)) //nolint:gosec // for no browser
	}
}

// url is that of a path of the server.
func (up *upstream) url(path string) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(up.port)) + path
}

// client returns a client of a proxy.
func (p *process) client(h2, keep bool) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA)
	roots.AppendCertsFromPEM(p.Roots)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	t := &http.Transport{
		Protocols: protocols, MaxIdleConnsPerHost: 1000, DisableKeepAlives: !keep, DisableCompression: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
	if p.Address != "" {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: p.Address})
	}
	return &http.Client{Transport: t}
}
