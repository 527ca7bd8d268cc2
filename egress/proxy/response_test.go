package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// answering starts a TLS server that answers each request with text, and then closes the connection. It returns its port.
func (w *world) answering(t testing.TB, text string) int {
	t.Helper()
	config := w.serverTLS()
	config.NextProtos = []string{"http/1.1"}
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(generous))
				secure := tls.Server(c, config)
				request := make([]byte, 4096)
				if n, err := secure.Read(request); err != nil || !strings.HasSuffix(string(request[:n]), "\r\n\r\n") {
					return // a short GET arrives at once
				}
				_, _ = io.WriteString(secure, text)
				_ = secure.CloseWrite()
			}()
		}
	}()
	return w.open(l)
}

// A path arrives as the client escaped it, also beside characters that no path may have.
func TestEscapesOfPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	received := make(chan string, 1)
	port := w.server(t, false, func(_ http.ResponseWriter, r *http.Request) { received <- r.RequestURI })
	authority := fmt.Sprintf("%s:%d", host, port)
	for sent, want := range map[string]string{
		"/a%2fb/%7E/%41":               "/a%2fb/%7E/%41",
		"/group%2Fproject/{id}":        "/group%2Fproject/%7Bid%7D",
		"/a%2fb/%7E/%41/\"<>|^`{}[]\\": "/a%2fb/%7E/%41/%22%3C%3E%7C%5E%60%7B%7D[]%5C",
		"/%C3%A9/\u00e9?\"x\"":         "/%C3%A9/%C3%A9?\"x\"",
		"//a/../%2e%2e/b;c=1/|":        "//a/../%2e%2e/b;c=1/%7C",
	} {
		secure, err := w.tunnel(t, authority, host, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(secure, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", sent, authority)
		if answer, err := io.ReadAll(secure); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Fatalf("%s: %s, %v", sent, answer, err)
		}
		if got := <-received; got != want {
			t.Errorf("%s arrives as %s, want %s", sent, got, want)
		}
		path, _, _ := strings.Cut(want, "?")
		if e := w.last(); e.Path != path {
			t.Errorf("event %+v", e)
		}
	}
	// The policy decides about the path that is sent.
	w.deny("r_path", host, "/group/*/denied")
	secure, err := w.tunnel(t, authority, host, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(secure, "GET /group/{id}/denied HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", authority)
	if answer, err := io.ReadAll(secure); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 403 ") {
		t.Errorf("denied: %s, %v", answer, err)
	}
}

// A response without Content-Type stays without: what its bytes look like is for the client to decide.
func TestNoContentType(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		for _, body := range []string{"<html>", "text", ""} {
			t.Run(fmt.Sprintf("h2 %v, %q", h2, body), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, proxy.Limits{})
				w.allow(host, true)
				port := w.answering(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
				res, got := get(t, w.client(t, h2), urlOf(host, port, "/"))
				if kind, ok := res.Header["Content-Type"]; ok || got != body {
					t.Errorf("Content-Type %q, body %q", kind, got)
				}
			})
		}
	}
}

// A status that isn't one is an answer that isn't HTTP.
func TestStatusOfTwoDigits(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		for _, status := range []string{"099", "000"} {
			t.Run(fmt.Sprintf("h2 %v, %s", h2, status), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, proxy.Limits{})
				w.allow(host, true)
				port := w.answering(t, "HTTP/1.1 "+status+" Odd\r\nContent-Length: 2\r\n\r\nok")
				res, body := get(t, w.client(t, h2), urlOf(host, port, "/"))
				if res.StatusCode != http.StatusBadGateway || reasonOf(t, body) != "upstream" {
					t.Errorf("%s, %s", res.Status, body)
				}
				if e := w.last(); e.StatusCode != http.StatusBadGateway || e.Reason != "upstream" {
					t.Errorf("event %+v", e)
				}
				if log := w.log.String(); strings.Contains(log, "panic") {
					t.Errorf("log: %s", log)
				}
			})
		}
	}
}

// What arrived of a response that breaks off arrives at the client, however short it is.
func TestBrokenOffSoon(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		for _, length := range []int{10, 100_000} {
			t.Run(fmt.Sprintf("h2 %v, %d bytes", h2, length), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, proxy.Limits{})
				w.allow(host, true)
				port := w.answering(t, fmt.Sprintf("HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\nhalf", length))
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, urlOf(host, port, "/"), nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := w.client(t, h2).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if res.StatusCode != http.StatusCreated || string(body) != "half" || err == nil {
					t.Errorf("%s, %q, %v", res.Status, body, err)
				}
			})
		}
	}
}
