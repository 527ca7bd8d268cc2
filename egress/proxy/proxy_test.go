package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/egress/dial"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/dnstest"
)

// generous is a time limit that only failures take.
const generous = 30 * time.Second

const (
	placeholder = "miosa-tok-0123456789abcdefghijklmnop"
	value       = "canary-value-of-the-secret"
	masked      = "**************************"
	// The host with a rule, and one without.
	host  = "api.example.com"
	other = "other.example.com"
)

// world is a proxy with a CA for the servers of the internet, their names, and what the proxy records.
type world struct {
	*proxy.Server
	names     *dnstest.Server
	internet  *ca.Authority
	authority *ca.Authority
	address   string        // of the proxy
	log       buffer.Buffer // of it

	mu      sync.Mutex // guards the fields below
	hosts   []string   // of the rule of a binding
	ports   []int      // of that rule
	network api.NetworkPolicy
	set     *proxy.Set // of these; nil: not compiled yet
	events  []api.TrafficEvent
}

// newWorld starts a proxy, which ends with the test. Its rules name no host yet.
func newWorld(t testing.TB, limits proxy.Limits) *world {
	t.Helper()
	w := &world{names: dnstest.New(t), network: api.NetworkPolicy{Mode: api.ModeEnforce, DefaultEffect: api.EffectAllow}}
	w.internet, w.authority = authority(t, "internet"), authority(t, "sandbox:sb_1")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.internet.PEM())
	w.Server = proxy.New(proxy.Config{
		Resource: api.Resource{Type: api.Sandbox, ID: "sb_1"}, Authority: w.authority, Roots: roots,
		Set: func() *proxy.Set { return w.compiled(t) }, Recorder: w, Dialer: dial.Dialer{Resolver: w.names.Resolver()}, Limits: limits, Log: zerolog.New(&w.log),
	})
	l := listen(t)
	w.address = l.Addr().String()
	run(t, w.Server, proxy.Listener{Listener: l})
	return w
}

// run runs a server until the test ends.
func run(t testing.TB, s *proxy.Server, l proxy.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the proxy ended with %v", err)
			}
		case <-time.After(generous):
			t.Error("the proxy doesn't end")
		}
	})
}

func authority(t testing.TB, name string) *ca.Authority {
	t.Helper()
	a, err := ca.New(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// compiled is the set of the resource.
func (w *world) compiled(t testing.TB) *proxy.Set {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		snapshot := api.Snapshot{Policy: &w.network}
		if len(w.hosts) > 0 && len(w.ports) > 0 {
			snapshot.Bound = []api.Bound{{
				Label: api.Label{ID: "b_1", SecretID: "s_1", Version: 3, ExposeAsEnv: "TOKEN", Egress: &api.Egress{Placeholder: placeholder, Rules: []api.EgressRule{{Hosts: w.hosts, Ports: w.ports}}}},
				Value: api.NewValue([]byte(value)),
			}}
		}
		var err error
		if w.set, err = proxy.NewSet(snapshot); err != nil {
			t.Error(err)
		}
	}
	return w.set
}

// change changes what the set is made of.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.set = nil
}

// Record implements proxy.Recorder.
func (w *world) Record(e api.TrafficEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// last returns the latest event.
func (w *world) last() api.TrafficEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return api.TrafficEvent{}
	}
	return w.events[len(w.events)-1]
}

// allow names a host, which has the address of this machine, in the rule of the binding, or only in the policy.
func (w *world) allow(host string, rules bool) {
	w.names.Set(host, "127.0.0.1")
	w.change(func() {
		if rules {
			w.hosts = append(w.hosts, host)
		} else {
			w.network.Rules = append(w.network.Rules, api.NetworkRule{ID: "r_allow", Host: host, Effect: api.EffectAllow})
		}
	})
}

// deny adds a rule of the policy.
func (w *world) deny(id, host, paths string) {
	w.change(func() {
		w.network.Rules = append(w.network.Rules, api.NetworkRule{ID: id, Host: host, Effect: api.EffectDeny, PathGlob: paths})
	})
}

// open adds the port of a listener to the rule of the binding, and returns it.
func (w *world) open(l net.Listener) int {
	port := port(l.Addr())
	w.change(func() { w.ports = append(w.ports, port) })
	return port
}

// server starts a TLS server that has certificates of the internet for all names. It returns its port.
func (w *world) server(t testing.TB, h2 bool, handler http.HandlerFunc) int {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = h2
	s.TLS = w.serverTLS()
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return w.open(s.Listener)
}

// echoBytes starts a server that sends back what it receives.
func (w *world) echoBytes(t testing.TB) net.Listener {
	t.Helper()
	l := listen(t)
	w.open(l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c) // until the proxy closes the connection
				_ = c.Close()
			}()
		}
	}()
	return l
}

func (w *world) serverTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := hello.ServerName
		if name == "" {
			name = "127.0.0.1"
		}
		return w.internet.Certificate(name)
	}}
}

func port(a net.Addr) int { return a.(*net.TCPAddr).Port }

// url is an https URL of a path on a server's port.
func urlOf(host string, port int, path string) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(port)) + path
}

// roots is what a client of the proxy trusts: its CA, and those of the internet.
func (w *world) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.authority.PEM())
	pool.AppendCertsFromPEM(w.internet.PEM())
	return pool
}

// client returns a client that uses the proxy, and HTTP/2 if h2 is true.
func (w *world) client(t testing.TB, h2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: w.address}), TLSClientConfig: &tls.Config{RootCAs: w.roots()}, Protocols: protocols,
		ExpectContinueTimeout: generous, DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: generous, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get sends a GET with the placeholder, and returns the response and its body.
func get(t testing.TB, c *http.Client, address string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+placeholder)
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// connect opens a tunnel. It returns the connection, and the status of the answer to CONNECT.
func (w *world) connect(t testing.TB, to string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(generous))
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to); err != nil {
		t.Fatal(err)
	}
	// Of an answer that isn't an error, only the header is sent until the tunnel is used.
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return c, res
}

// tunnel opens a tunnel with TLS to host. alpn is what the client speaks.
func (w *world) tunnel(t testing.TB, to, serverName, alpn string) (*tls.Conn, error) {
	t.Helper()
	c, res := w.connect(t, to)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %s", res.Status)
	}
	secure := tls.Client(c, &tls.Config{RootCAs: w.roots(), ServerName: serverName, NextProtos: []string{alpn}})
	return secure, secure.HandshakeContext(t.Context())
}

// refusal decodes the answer to a refused request.
type refusal struct {
	Error, Code, Reason, Binding, Rule string
}

func reasonOf(t testing.TB, body string) string {
	t.Helper()
	var r refusal
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%q is no refusal: %v", body, err)
	}
	if strings.Contains(body, value) {
		t.Error("the refusal has the value")
	}
	return r.Reason
}
