package fetch_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// proxy answers CONNECT with status and records the requests before the tunnel.
type proxy struct {
	status   int
	mu       sync.Mutex // guards requests
	requests []string   // each request with its headers
	tunnel   sync.WaitGroup
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var header strings.Builder
	_ = r.Write(&header)
	p.mu.Lock()
	p.requests = append(p.requests, r.Method+" "+r.RequestURI+"\n"+header.String()+r.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	if r.Method != http.MethodConnect || p.status != 200 {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, "canary")
		return
	}
	vault, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(502)
		return
	}
	defer vault.Close()
	caller, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer caller.Close()
	_, _ = io.WriteString(caller, "HTTP/1.1 200 OK\r\n\r\n")
	p.tunnel.Go(func() { _, _ = io.Copy(vault, caller); _ = vault.Close() })
	_, _ = io.Copy(caller, vault)
	_ = caller.Close()
	p.tunnel.Wait()
}

func TestProxy(t *testing.T) {
	ours := newAuthority(t)
	for _, tt := range []struct {
		name   string
		secure bool // the proxy uses TLS
		user   string
		status int
		reason fetch.Reason
		hint   string
	}{
		{name: "http", status: 200},
		{name: "https", secure: true, status: 200},
		{name: "with a password", user: "user:pass@", status: 200},
		{name: "wants a password", status: 407, reason: fetch.BadProxy, hint: "password"},
		{name: "forbids", status: 403, reason: fetch.BadProxy, hint: "rules"},
		{name: "can't", status: 502, reason: fetch.BadProxy, hint: "rules"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ours.leaf(t, nil)}},
				func(_ int, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) })
			p := &proxy{status: tt.status}
			server := httptest.NewUnstartedServer(p)
			scheme := "http"
			if tt.secure {
				scheme = "https"
				server.TLS = &tls.Config{Certificates: []tls.Certificate{ours.leaf(t, func(*x509.Certificate) {})}}
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			c := client(t, vault.URL, func(c *fetch.Config) {
				c.CAFile = ours.file
				c.Proxy = scheme + "://" + tt.user + server.Listener.Addr().String()
			})
			err := reveal(t, c)
			c.Close()
			if tt.reason == "" && err != nil {
				t.Fatal(err)
			}
			if tt.reason != "" {
				problem, ok := errors.AsType[*fetch.Problem](err)
				if !ok || problem.Reason != tt.reason || !strings.Contains(problem.Fix, tt.hint) || strings.Contains(err.Error(), "canary") {
					t.Fatalf("error %v (%+v), want %s", err, problem, tt.reason)
				}
				if len(vault.times()) != 0 {
					t.Error("a request reached the vault without the proxy")
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.requests) != 1 || !strings.HasPrefix(p.requests[0], "CONNECT "+vault.Listener.Addr().String()) {
				t.Fatalf("the proxy got %d requests", len(p.requests))
			}
			if strings.Contains(p.requests[0], "msk_") || strings.Contains(p.requests[0], "Bearer") {
				t.Error("the proxy received the key")
			}
			if (tt.user != "") != strings.Contains(p.requests[0], "Basic ") {
				t.Error("the proxy's own password is missing or wrong")
			}
		})
	}
}

// The environment does not select a proxy: otherwise anyone who can set a sandbox's variables could read the
// traffic. If the proxy is unreachable, the error names the proxy and not the vault.
func TestProxyOutOfReach(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	_ = gone.Close()
	for _, tt := range []struct{ name, proxy, want, hint string }{
		{"nobody listens", "http://" + address, "the proxy at " + address + " can't be reached: connection refused", "check --proxy or MIOSA_PROXY, and that the proxy runs"},
		{"no such name", "http://proxy.invalid:3128", "the proxy at proxy.invalid:3128 can't be reached", "check "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := fetch.New(fetch.Config{BaseURL: "https://vault.example.com", Key: api.NewKey(api.ResourceKeyPrefix), Proxy: tt.proxy, Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Bindings(t.Context(), fetch.BindingFilter{})
			p, ok := errors.AsType[*fetch.Problem](err)
			if !ok || !strings.HasPrefix(p.Message, tt.want) || !strings.HasPrefix(p.Fix, tt.hint) {
				t.Errorf("error %v (%+v), want %s", err, p, tt.want)
			}
		})
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	p := &proxy{status: 403}
	server := httptest.NewServer(p)
	defer server.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, server.URL)
	}
	ours := newAuthority(t)
	vault := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ours.leaf(t, nil)}},
		func(_ int, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) })
	if err := reveal(t, client(t, vault.URL, func(c *fetch.Config) { c.CAFile = ours.file })); err != nil {
		t.Error(err)
	}
	if len(p.requests) != 0 {
		t.Error("the proxy received a request")
	}
}
