package proxy_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// Headers have a limit, in requests and in responses.
func TestAttack_HugeHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port, reached := target(t, w)
	big := w.server(t, true, func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X-Big", strings.Repeat("x", 300<<10)) })
	for _, h2 := range []bool{false, true} {
		for name, change := range map[string]func(*http.Request){
			"one header": func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("x", 200<<10)) },
			"many headers": func(r *http.Request) {
				for i := range 20_000 {
					r.Header.Set(fmt.Sprintf("X-%d", i), "x")
				}
			},
			"path": func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("x", 200<<10) },
		} {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, urlOf(host, port, "/"), nil)
			change(r)
			res, err := w.client(t, h2).Do(r)
			if err != nil {
				continue // refused before it was sent, because of the proxy's settings
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("h2 %v, %s: %s", h2, name, res.Status)
			}
		}
		res, body := get(t, w.client(t, h2), urlOf(host, big, "/"))
		if res.StatusCode != http.StatusBadGateway || reasonOf(t, body) != "upstream" {
			t.Errorf("h2 %v, response: %s", h2, res.Status)
		}
	}
	if reached() {
		t.Error("a request was sent")
	}
}

// A client that sends a header, a handshake or a body slowly is given up. One that sends all of it isn't.
func TestAttack_SlowClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{Handshake: 3 * time.Second, Body: 3 * time.Second})
	w.allow(host, true)
	w.allow(other, false)
	port := w.server(t, true, func(rw http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, err)
	})
	to := fmt.Sprintf("%s:%d", host, port)
	for name, begin := range map[string]func(t *testing.T) net.Conn{
		"nothing": func(t *testing.T) net.Conn { return dialed(t, w) },
		"half a header": func(t *testing.T) net.Conn {
			c := dialed(t, w)
			_, _ = io.WriteString(c, "CONNECT x:443 HTTP/1.1\r\nHost")
			return c
		},
		"half a handshake": func(t *testing.T) net.Conn {
			c, _ := w.connect(t, to)
			_, _ = c.Write([]byte{0x16, 3, 1, 2, 0, 1})
			return c
		},
		"half a handshake to a host without rules": func(t *testing.T) net.Conn {
			c, _ := w.connect(t, fmt.Sprintf("%s:%d", other, port))
			_, _ = c.Write([]byte{0x16, 3, 1, 2, 0, 1})
			return c
		},
		"half a header in TLS": func(t *testing.T) net.Conn {
			c, err := w.tunnel(t, to, host, "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost")
			return c
		},
		"half a body": func(t *testing.T) net.Conn {
			c, err := w.tunnel(t, to, host, "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\nhalf", to)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := begin(t)
			answer, err := io.ReadAll(c) // until the proxy closes the connection; connections of tests have a longer limit
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays")
			}
			if name == "half a body" && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
				t.Errorf("got %q; event %+v", answer, w.last())
			}
		})
	}
}

// A response may take longer than the limit of the body.
func TestSlowResponse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{Body: 3 * time.Second})
	w.allow(host, true)
	slow := w.server(t, false, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(4 * time.Second)
		_, _ = io.WriteString(rw, "done")
	})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(host, slow, "/"), strings.NewReader("body"))
	res, err := w.client(t, false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "done" {
		t.Errorf("got %q, %v", body, err)
	}
}

func dialed(t *testing.T, w *world) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(generous))
	return c
}

// A resource can't open more connections than its limit, those beyond it learn why, and the places come back.
func TestAttack_ManyConnections(t *testing.T) {
	t.Parallel()
	limit := needs.Number(t, "MIOSA_EGRESS_CONNECTIONS", 1000) / 10
	w := newWorld(t, proxy.Limits{Connections: limit})
	w.allow(host, true)
	port := w.server(t, true, echo)
	var all []net.Conn
	refused := 0
	for range 10 * limit {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) < limit {
			all = append(all, c)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(generous))
		// The refusal may be lost: the connection is closed right after it.
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusServiceUnavailable || reasonOf(t, string(body)) != "busy" {
				t.Fatalf("%s %s", res.Status, body)
			}
			refused++
		}
		_ = c.Close()
		if n := w.Connections(); n > limit {
			t.Fatalf("%d connections, want at most %d", n, limit)
		}
	}
	if refused == 0 {
		t.Error("no connection was told why it was refused")
	}
	for _, c := range all {
		_ = c.Close()
	}
	poll.Until(t, generous, "the places are free again", func() bool { return w.Connections() == 0 })
	if res, _ := get(t, w.client(t, true), urlOf(host, port, "/")); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

// Certificates of any number of names take bounded memory, and each name gets its own.
func TestAttack_LeafCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	port, _ := target(t, w)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			name := fmt.Sprintf("n%d.example.com", i)
			w.allow(name, true)
			c, err := w.tunnel(t, fmt.Sprintf("%s:%d", name, port), name, "http/1.1")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if got := c.ConnectionState().PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != name {
				t.Errorf("the certificate is for %q, want %s", got, name)
			}
		})
	}
	all.Wait()
	// What isn't the name of a host gets none.
	for _, name := range []string{"*.example.com", "a b.example.com", strings.Repeat("x", 300) + ".example.com", "n1.example.com\x00.evil.example.com"} {
		c, _ := w.connect(t, fmt.Sprintf("n1.example.com:%d", port))
		if err := tls.Client(c, &tls.Config{RootCAs: w.roots(), ServerName: name}).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%q: it has a certificate", name)
		}
	}
}

// When a proxy stops, all of its connections end: those that wait, are spliced, or are in the middle of a handshake.
func TestRunEndsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{Handshake: time.Hour})
	w.allow(host, true)
	w.allow(other, false)
	l := listen(t)
	c, _ := w.connect(t, recorder{l}.at(other))
	_, _ = io.WriteString(c, "\x00")
	secure, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, w.open(l)), host, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(secure, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	dialed(t, w)
	half, _ := w.connect(t, recorder{l}.at(host))
	_, _ = half.Write([]byte{0x16, 3, 1, 2, 0, 1})
	poll.Until(t, generous, "four connections", func() bool { return w.Connections() == 4 })
	// The end of the test waits for the end of Run.
}
