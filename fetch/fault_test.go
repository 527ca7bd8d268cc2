package fetch_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// serveRaw starts a server that calls speak for each connection.
func serveRaw(t *testing.T, speak func(n int, c *net.TCPConn)) (address string, connections func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	count := make(chan int, 1)
	count <- 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := <-count + 1
			count <- n
			speak(n, c.(*net.TCPConn))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String(), func() int { n := <-count; count <- n; return n }
}

// readRequest reads one request.
func readRequest(c net.Conn) {
	if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

func TestConnectionFaults(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	const begun = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"etag\":"
	for _, tt := range []struct {
		name    string
		scheme  string
		speak   func(n int, c *net.TCPConn)
		reason  fetch.Reason
		message string
		retried bool
	}{
		{"nothing listens", "http", nil, fetch.Unreachable, "connection refused", true},
		{"closes at once", "http", func(int, *net.TCPConn) {}, fetch.Unreachable, "broke off", true},
		{"resets at once", "http", func(_ int, c *net.TCPConn) { _ = c.SetLinger(0) }, fetch.Unreachable, "", true},
		{"resets after the request", "http", func(_ int, c *net.TCPConn) { readRequest(c); _ = c.SetLinger(0) }, fetch.Unreachable, "broke off", true},
		{"closes within the body", "http", func(_ int, c *net.TCPConn) { readRequest(c); _, _ = io.WriteString(c, begun) }, fetch.Unreachable, "broke off", true},
		{"closes within the headers", "http", func(_ int, c *net.TCPConn) { readRequest(c); _, _ = io.WriteString(c, begun[:30]) }, fetch.Unreachable, "broke off", true},
		{"speaks something else", "http", func(_ int, c *net.TCPConn) { readRequest(c); _, _ = io.WriteString(c, "SSH-2.0-canary\r\n\r\n") }, fetch.Unreachable, "broke off", true},
		{"endless headers", "http", func(_ int, c *net.TCPConn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 2000 {
				_, _ = io.WriteString(c, "X-Filler: "+strings.Repeat("x", 100)+"\r\n")
			}
		}, fetch.Unreachable, "broke off", true},
		{"a TLS alert to plain http", "http", func(_ int, c *net.TCPConn) { readRequest(c); _, _ = c.Write([]byte{0x15, 3, 1, 0, 2, 2, 70, '\n'}) }, fetch.NeedsTLS, "expects TLS", false},
		{"plain http to TLS", "https", func(_ int, c *net.TCPConn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, fetch.NotTLS, "plain http", false},
		{"something else to TLS", "https", func(_ int, c *net.TCPConn) { _, _ = io.WriteString(c, "SSH-2.0-canary\r\n") }, fetch.NotTLS, "doesn't speak TLS", false},
		{"chooses TLS 1.2 though it wasn't offered", "https", func(_ int, c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 4096))
			hello := append([]byte{3, 3}, make([]byte, 32)...)                                                       // version, random
			hello = append(hello, 0, 0xc0, 0x2f, 0)                                                                  // no session, a cipher, no compression
			_, _ = c.Write(append([]byte{0x16, 3, 3, 0, byte(len(hello) + 4), 2, 0, 0, byte(len(hello))}, hello...)) // record, handshake
		}, fetch.TLSFailed, "does not support TLS 1.3", false},
		{"changes the protocol", "http", func(_ int, c *net.TCPConn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: canary\r\n\r\n")
		}, fetch.BadAnswer, "protocol", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, connections := closed.Addr().String(), func() int { return 2 }
			if tt.speak != nil {
				address, connections = serveRaw(t, tt.speak)
			}
			c := client(t, tt.scheme+"://"+address, within(500*time.Millisecond))
			_, err := c.Reveal(t.Context(), sandbox, "", 0)
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || problem.Reason != tt.reason || !strings.Contains(err.Error(), tt.message) {
				t.Fatalf("error %v (%+v), want %s", err, problem, tt.reason)
			}
			if !strings.Contains(err.Error(), address) || strings.Contains(err.Error()+problem.Fix, "canary") {
				t.Errorf("error %q does not name the vault, or repeats the peer's response", err)
			}
			if n := connections(); (n > 1) != tt.retried || api.Temporary(err) != tt.retried {
				t.Errorf("%d connections, temporary %v, want retries %v", n, api.Temporary(err), tt.retried)
			}
		})
	}
}

// A vault that is down for two attempts is reached at the third.
func TestConnectionsRecover(t *testing.T) {
	vault := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n < 3 {
			panic(http.ErrAbortHandler)
		}
		answerJSON(w, 200, seal(t, r, set()))
	})
	if _, err := client(t, vault.URL).Reveal(t.Context(), sandbox, "", 0); err != nil {
		t.Fatal(err)
	}
}

func TestBadAnswers(t *testing.T) {
	zipped := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return b.String()
	}
	const asJSON = "application/json"
	for _, tt := range []struct {
		name    string
		status  int
		media   string
		header  []string
		body    string
		reason  fetch.Reason
		message string
		kind    error // nil: none
		retried bool
	}{
		{"a page", 200, "text/html", nil, "<html>canary</html>", fetch.BadAnswer, "isn't JSON", nil, false},
		{"JSON under another type", 200, "text/plain", nil, "{}", fetch.BadAnswer, "isn't JSON", nil, false},
		{"no type", 200, "", nil, "{}", fetch.BadAnswer, "isn't JSON", nil, false},
		{"broken JSON", 200, asJSON, nil, `{"etag": canary`, fetch.BadAnswer, "broken JSON", nil, false},
		{"empty", 200, asJSON, nil, "", fetch.BadAnswer, "answer is empty", nil, false},
		{"two answers", 200, asJSON, nil, `{}{}`, fetch.BadAnswer, "broken JSON", nil, false},
		{"not an object", 200, asJSON, nil, `"canary"`, fetch.BadAnswer, "contract's form", nil, false},
		{"null", 200, asJSON, nil, `null`, fetch.BadAnswer, "contract's form", nil, false},
		{"another object", 200, asJSON, nil, `{"canary": 1}`, fetch.BadAnswer, "contract's form", nil, false},
		{"fields of other types", 200, asJSON, nil, `{"etag": 1, "enc": {}}`, fetch.BadAnswer, "contract's form", nil, false},
		{"not base64", 200, asJSON, nil, `{"etag": "e", "enc": "%%%"}`, fetch.BadAnswer, "contract's form", nil, false},
		{"deep", 200, asJSON, nil, strings.Repeat("[", 1<<20), fetch.BadAnswer, "broken JSON", nil, false},
		{"deep within a field", 200, asJSON, nil, `{"etag":"e","x":` + strings.Repeat(`{"x":`, 1<<20), fetch.BadAnswer, "broken JSON", nil, false},
		{"gzip", 200, asJSON, []string{"Content-Encoding", "gzip"}, zipped("{}"), fetch.BadAnswer, "compressed", nil, false},
		{"a gzip bomb", 200, asJSON, []string{"Content-Encoding", "gzip"}, zipped(strings.Repeat("canary", 1<<22)), fetch.BadAnswer, "compressed", nil, false},
		{"brotli", 200, asJSON, []string{"Content-Encoding", "br"}, "x", fetch.BadAnswer, "compressed", nil, false},
		{"identity, then deflate", 200, asJSON, []string{"Content-Encoding", "identity, deflate"}, "x", fetch.BadAnswer, "compressed", nil, false},
		{"an empty success", 204, "", nil, "", fetch.BadAnswer, "answer is empty", nil, false},
		{"not modified, unasked", 304, "", nil, "", fetch.BadAnswer, "304", nil, false},

		{"a page for 401", 401, "text/html", nil, "<html>canary</html>", fetch.Unauthorized, "doesn't accept this key", api.ErrUnauthorized, false},
		{"a page for 403", 403, "text/html", nil, "<html>canary</html>", fetch.Denied, "may not", api.ErrDenied, false},
		{"a page for 404", 404, "text/html", nil, "<html>canary</html>", fetch.NotFound, "doesn't know", api.ErrNotFound, false},
		{"a page for 400", 400, "text/html", nil, "<html>canary</html>", fetch.Refused, "status 400", api.ErrMalformed, false},
		{"a page for 502", 502, "text/html", nil, "<html>canary</html>", fetch.Busy, "status 502", api.ErrUnavailable, true},
		{"a gzipped 500", 500, asJSON, []string{"Content-Encoding", "gzip"}, zipped(`{"error":"canary"}`), fetch.Busy, "status 500", api.ErrInternal, true},
		{"an error of objects", 403, asJSON, nil, `{"error":{"sentence":"canary"}}`, fetch.Denied, "may not", api.ErrDenied, false},
		{"an error that is a list", 403, asJSON, nil, `["canary"]`, fetch.Denied, "may not", api.ErrDenied, false},
		{"a huge error", 403, asJSON, nil, `{"error":"` + strings.Repeat("canary", 1<<20) + `"}`, fetch.Denied, "may not", api.ErrDenied, false},
		{"Go's TLS server", 400, "", nil, "Client sent an HTTP request to an HTTPS server.\n", fetch.NeedsTLS, "expects TLS", nil, false},
		{"nginx", 400, "text/html", nil, "<html>The plain HTTP request was sent to HTTPS port</html>", fetch.NeedsTLS, "expects TLS", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				if tt.media != "" {
					w.Header().Set("Content-Type", tt.media)
				}
				for i := 0; i < len(tt.header); i += 2 {
					w.Header().Set(tt.header[i], tt.header[i+1])
				}
				w.WriteHeader(tt.status)
				if tt.body != "" {
					_, _ = io.WriteString(w, tt.body)
				}
			})
			budget := 10 * time.Second // more than a busy machine needs to read some megabytes
			if tt.retried {
				budget = 400 * time.Millisecond // retries continue until this has passed
			}
			_, err := client(t, vault.URL, within(budget)).Reveal(t.Context(), sandbox, "", 0)
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || problem.Reason != tt.reason || !strings.Contains(err.Error(), tt.message) {
				t.Fatalf("error %v (%+v), want %s", err, problem, tt.reason)
			}
			if tt.kind != nil && !errors.Is(err, tt.kind) || tt.kind == nil && api.Temporary(err) {
				t.Errorf("kind isn't %v", tt.kind)
			}
			if all := fmt.Sprintf("%v %+v %#v %s", err, problem, problem, problem.Fix); strings.Contains(all, "canary") {
				t.Error("the error repeats the body")
			}
			if n := len(vault.times()); (n > 1) != tt.retried {
				t.Errorf("%d requests, want retries %v", n, tt.retried)
			}
		})
	}
}

// Responses over the size limit are refused without being buffered completely.
func TestHugeAnswers(t *testing.T) {
	const promised = 1 << 30
	for _, tt := range []struct {
		name    string
		length  bool // with Content-Length
		call    func(t *testing.T, c *fetch.Client) error
		allowed string
		limit   int
		asks    int
	}{
		{"reveal, with its length", true, reveal, "16 MiB", 16 << 20, 1},
		{"reveal, without end", false, reveal, "16 MiB", 16 << 20, 1},
		{"list, with its length", true, listBindings, "8 MiB", 8 << 20, 1},
		{"list, without end", false, listBindings, "8 MiB", 8 << 20, 1},
		// Requested in ever smaller pages, down to a single item.
		{"list in parts, with its length", true, listSecrets, "8 MiB", 8 << 20, 5},
		{"list in parts, without end", false, listSecrets, "8 MiB", 8 << 20, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if tt.length {
					w.Header().Set("Content-Length", fmt.Sprint(promised))
				}
				block := bytes.Repeat([]byte(" "), 1<<20)
				for sent := 0; sent < promised; sent += len(block) {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			})
			c := client(t, vault.URL)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.call(t, c)
			runtime.ReadMemStats(&after)
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || problem.Reason != fetch.TooLarge || !strings.Contains(err.Error(), tt.allowed) {
				t.Fatalf("error %v", err)
			}
			// All allocations: a body up to the limit, grown by doubling.
			if used := after.TotalAlloc - before.TotalAlloc; used > uint64(3*tt.limit*tt.asks) {
				t.Errorf("allocated %d MiB", used>>20)
			}
			if n := len(vault.times()); n != tt.asks {
				t.Errorf("%d requests, want %d", n, tt.asks)
			}
		})
	}
}

func reveal(t *testing.T, c *fetch.Client) error {
	_, err := c.Reveal(t.Context(), sandbox, "", 0)
	return err
}

func listSecrets(t *testing.T, c *fetch.Client) error {
	_, err := c.Secrets(t.Context(), fetch.SecretFilter{})
	return err
}

func listBindings(t *testing.T, c *fetch.Client) error {
	_, err := c.Bindings(t.Context(), fetch.BindingFilter{})
	return err
}
