package fetch_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// No call follows a redirect, so the redirect's target receives no request.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(int, http.ResponseWriter, *http.Request) {})
	elsewhereTLS := httptest.NewTLSServer(elsewhere.handler(func(int, http.ResponseWriter, *http.Request) {}))
	defer elsewhereTLS.Close()
	var to string
	var status int
	vault := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	})
	targets := map[string]string{
		"another port": elsewhere.URL + "/x", "https": elsewhereTLS.URL, "itself": vault.URL + "/api/v1/egress/bindings",
		"a path": "/x", "no scheme": strings.TrimPrefix(elsewhere.URL, "http:"), "metadata": "http://169.254.169.254/latest", "file": "file:///etc/passwd", "nowhere": "",
	}
	calls := map[string]func(t *testing.T, c *fetch.Client) error{
		"reveal": reveal, "secrets": listSecrets,
		"put": func(t *testing.T, c *fetch.Client) error {
			_, _, err := c.PutSecret(t.Context(), api.NewSecret{Name: "n"})
			return err
		},
		"delete": func(t *testing.T, c *fetch.Client) error { return c.DeleteSecret(t.Context(), "sec_1") },
	}
	for _, status = range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
		for where, target := range targets {
			for what, call := range calls {
				t.Run(fmt.Sprintf("%d to %s, %s", status, where, what), func(t *testing.T) {
					to = target
					want := fetch.Redirected
					if status == http.StatusNotModified && target == "" {
						want = fetch.BadAnswer // the call has no condition that 304 could answer
					}
					before := len(vault.times())
					err := call(t, client(t, vault.URL))
					problem, ok := errors.AsType[*fetch.Problem](err)
					if !ok || problem.Reason != want || api.Temporary(err) {
						t.Errorf("error %v", err)
					}
					if n := len(vault.times()) - before; n != 1 {
						t.Errorf("%d requests, want 1", n)
					}
				})
			}
		}
	}
	if n := len(elsewhere.times()); n != 0 {
		t.Errorf("%d requests reached where the redirects lead", n)
	}
}

// A host name is checked when connecting, by the address to which it resolves.
func TestForbiddenAddressesByName(t *testing.T) {
	for _, tt := range []struct {
		name, scheme, ip string
		message          string // "": allowed
	}{
		{"metadata", "https", "169.254.169.254", "link-local"},
		{"link-local", "https", "169.254.0.1", "link-local"},
		{"link-local in v6 clothes", "https", "::ffff:169.254.169.254", "link-local"},
		{"link-local through NAT64", "https", "64:ff9b::a9fe:a9fe", "link-local"},
		{"link-local v6", "https", "fe80::1", "link-local"},
		{"metadata v6", "https", "fd00:ec2::254", "metadata"},
		{"elsewhere, in plain http", "http", "192.0.2.1", "isn't loopback"},
		{"any address, in plain http", "http", "0.0.0.0", "isn't loopback"},
		{"private, in plain http", "http", "10.0.0.1", "isn't loopback"},
		{"link-local, in plain http", "http", "169.254.169.254", "link-local"},
		{"loopback", "https", "127.0.0.1", ""},
		{"loopback, in plain http", "http", "127.0.0.1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, connections := serveRaw(t, func(int, *net.TCPConn) {})
			_, port, _ := net.SplitHostPort(address)
			c := client(t, tt.scheme+"://vault.localhost:"+port, within(1_000_000_000))
			c.ResolveWith(resolver(t, net.ParseIP(tt.ip)))
			err := reveal(t, c)
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || (problem.Reason == fetch.BadAddress) != (tt.message != "") || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("error %v (%+v)", err, problem)
			}
			if (connections() == 0) != (tt.message != "") {
				t.Errorf("%d connections", connections())
			}
		})
	}
}

func TestUnknownNames(t *testing.T) {
	c := client(t, "https://vault.localhost", within(300_000_000))
	c.ResolveWith(resolver(t, nil))
	problem, ok := errors.AsType[*fetch.Problem](reveal(t, c))
	if !ok || problem.Reason != fetch.UnknownHost || !errors.Is(problem, api.ErrUnavailable) {
		t.Errorf("problem %+v", problem)
	}
}

// resolver answers every query with ip, or with "no such name" if ip is nil.
func resolver(t *testing.T, ip net.IP) *net.Resolver {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := l.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = l.WriteTo(dnsAnswer(buffer[:n], ip), from)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
}

// dnsAnswer answers a query with one question (RFC 1035) with an address if ip is of the requested type, with no
// address if it is of the other type, and with "no such name" if ip is nil.
func dnsAnswer(query []byte, ip net.IP) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root's empty label, type and class
	kind := binary.BigEndian.Uint16(query[end-4:])
	out := append([]byte(nil), query[:end]...)
	copy(out[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	address := []byte(ip.To4())
	// An IPv4-mapped IPv6 address in an AAAA record, as a hostile server could send it.
	if kind == 28 {
		address = ip.To16()
	}
	switch {
	case ip == nil:
		out[3] = 0x83
	case kind == 1 && address != nil || kind == 28:
		out[7] = 1
		out = append(out, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(address)))
		out = append(out, address...)
	}
	return out
}
