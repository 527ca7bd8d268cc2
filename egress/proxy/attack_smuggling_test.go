package proxy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// wire is a server of HTTP/1.1 that keeps what it receives.
type wire struct {
	net.Listener
	mu  sync.Mutex // guards got
	got [][]byte   // by connection
}

// Accept implements net.Listener.
func (l *wire) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, nil)
	return wireConn{c, l, len(l.got) - 1}, nil
}

type wireConn struct {
	net.Conn
	of *wire
	at int
}

func (c wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.got[c.at] = append(c.of.got[c.at], p[:n]...)
	return n, err
}

// newWire starts the server. It answers each request with its path.
func newWire(t *testing.T, w *world) *wire {
	t.Helper()
	config := w.serverTLS()
	config.NextProtos = []string{"http/1.1"}
	l := &wire{Listener: tls.NewListener(listen(t), config)}
	server := &http.Server{ReadHeaderTimeout: generous, ErrorLog: quiet, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(rw, r.URL.Path)
	})}
	w.open(l)
	go server.Serve(l) // until the listener is closed
	return l
}

// requests parses what the server received as the strictest reader would, and returns the first lines of the requests.
func (l *wire) requests(t *testing.T) (lines []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.got {
		for len(b) > 0 {
			head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
			if !ok {
				break // it wasn't received completely
			}
			if bare := bytes.ReplaceAll(head, []byte("\r\n"), nil); bytes.ContainsAny(bare, "\r\n\x00") {
				t.Errorf("a bare CR, LF or NUL in %q", head)
			}
			fields := strings.Split(string(head), "\r\n")
			lines = append(lines, fields[0])
			if strings.Count(fields[0], " ") != 2 {
				t.Errorf("request line %q", fields[0])
			}
			length, chunked, framings, hosts := 0, false, 0, 0
			for _, f := range fields[1:] {
				name, text, ok := strings.Cut(f, ": ")
				if !ok || name == "" || strings.ContainsAny(name, " \t") {
					t.Errorf("header %q", f)
				}
				switch strings.ToLower(name) {
				case "content-length":
					framings++
					length, _ = strconv.Atoi(text)
				case "transfer-encoding":
					framings++
					chunked = text == "chunked"
				case "host":
					hosts++
				}
			}
			if framings > 1 || hosts != 1 {
				t.Errorf("%d framings and %d hosts in %q", framings, hosts, head)
			}
			if chunked {
				_, rest, _ = bytes.Cut(rest, []byte("0\r\n\r\n"))
			}
			b = rest[min(length, len(rest)):]
		}
	}
	return lines
}

// However a request is framed, the server gets the requests that the proxy has checked and no others: each has one framing, and
// what follows a request that can't be understood isn't read.
func TestAttack_Smuggling(t *testing.T) {
	t.Parallel()
	const hidden = "GET /hidden HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	size := len(hidden)
	for _, tt := range []struct {
		name, sent string
		want       []string // paths that the server may see beside the first, in order; nil: none
		refused    bool     // the first isn't sent either
	}{
		{name: "CL.TE", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", 5+size, hidden), want: []string{"/hidden"}}, // two requests for the proxy, too
		{name: "TE.CL", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, hidden)},
		{name: "TE.TE", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, refused: true},
		{name: "TE hidden by a character", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + hidden, refused: true},
		{name: "TE xchunked", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, refused: true},
		{name: "TE, gzip", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden, refused: true},
		{name: "space before the colon", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nContent-Length : %d\r\n\r\n%s", size, hidden), refused: true},
		{name: "two lengths", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n%s", size, hidden), refused: true},
		{name: "list of lengths", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: 0, %d\r\n\r\n%s", size, hidden), refused: true},
		{name: "negative length", sent: "POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: -1\r\n\r\n" + hidden, refused: true},
		{name: "length with a sign", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: +%d\r\n\r\n%s", size, hidden), refused: true},
		{name: "huge length", sent: "POST /a HTTP/1.1\r\nHost: H\r\nContent-Length: 99999999999999999999\r\n\r\n" + hidden, refused: true},
		{name: "folded header", sent: "GET /a HTTP/1.1\r\nHost: H\r\nX-A: b\r\n Content-Length: 99\r\n\r\n"},
		{name: "folded first header", sent: "GET /a HTTP/1.1\r\n Host: other.example.com\r\nHost: H\r\n\r\n", refused: true},
		{name: "folded framing", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + hidden, want: []string{"/hidden"}},
		{name: "bare LF", sent: "GET /a HTTP/1.1\nHost: api.example.com\nX-A: b\n\n"},
		{name: "bare CR in a header", sent: "GET /a HTTP/1.1\r\nHost: H\r\nX-A: b\rContent-Length: 9\r\n\r\n", refused: true},
		{name: "bare CR in the request line", sent: "GET /a\rX HTTP/1.1\r\nHost: H\r\n\r\n", refused: true},
		{name: "NUL in a header", sent: "GET /a HTTP/1.1\r\nHost: H\r\nX-A: b\x00c\r\n\r\n", refused: true},
		{name: "bare LF in a chunk's size", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n"},
		{name: "chunk extension with a bare LF", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n2;\n%02x\r\n%s\r\n0\r\n\r\n", size, hidden)},
		{name: "chunk longer than its size", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + hidden},
		{name: "TE in HTTP/1.0", sent: fmt.Sprintf("POST /a HTTP/1.0\r\nHost: H\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n%s", 5+size, hidden)},
		{name: "two spaces in the request line", sent: "GET  /a HTTP/1.1\r\nHost: H\r\n\r\n", refused: true},
		{name: "two paths", sent: "GET /a /b HTTP/1.1\r\nHost: H\r\n\r\n", refused: true},
		{name: "empty line first", sent: "\r\nGET /a HTTP/1.1\r\nHost: H\r\n\r\n", refused: true},
		{name: "HTTP/1.9", sent: "GET /a HTTP/1.9\r\nHost: H\r\n\r\n"},
		{name: "headers after the body", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n", refused: true},
		{name: "body of GET", sent: fmt.Sprintf("GET /a HTTP/1.1\r\nHost: H\r\nContent-Length: %d\r\n\r\n%s", size, hidden)},
		{name: "Expect", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", size, hidden)},
		{name: "unknown Expect", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nExpect: 200-ok\r\nContent-Length: %d\r\n\r\n%s", size, hidden), refused: true},
		{name: "Expect of a refused request", sent: fmt.Sprintf("POST /denied HTTP/1.1\r\nHost: H\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", size, hidden), refused: true},
		{name: "absolute URL", sent: "GET https://api.example.com:P/a HTTP/1.1\r\nHost: H\r\n\r\n"},
		{name: "absolute URL of another host", sent: "GET https://other.example.com/a HTTP/1.1\r\nHost: H\r\n\r\n", refused: true},
		{name: "Upgrade of a request with a body", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n%s", size, hidden)},
		{name: "Upgrade that the server refuses", sent: "GET /a HTTP/1.1\r\nHost: H\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 99\r\n\r\n" + strings.ReplaceAll(hidden, "hidden", "denied")},
		{name: "trailer that is a header", sent: "POST /a HTTP/1.1\r\nHost: H\r\nTrailer: Authorization, Host\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\nHost: other.example.com\r\n\r\n"},
		{name: "Connection names Content-Length", sent: fmt.Sprintf("POST /a HTTP/1.1\r\nHost: H\r\nConnection: Content-Length\r\nContent-Length: %d\r\n\r\n%s", size, hidden)},
		{name: "Connection names Host", sent: "GET /a HTTP/1.1\r\nHost: H\r\nConnection: Host, Authorization\r\n\r\n"},
		{name: "upgrade to h2c", sent: "GET /a HTTP/1.1\r\nHost: H\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", refused: true},
		{name: "pipelining", sent: "GET /a HTTP/1.1\r\nHost: H\r\n\r\nGET /b HTTP/1.1\r\nHost: H\r\n\r\nGET /c HTTP/1.1\r\nHost: other.example.com\r\n\r\nGET /denied HTTP/1.1\r\nHost: H\r\n\r\nGET /d HTTP/1.1\r\nHost: H\r\n\r\n", want: []string{"/b", "/d"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, proxy.Limits{})
			w.allow(host, true)
			w.deny("r_path", host, "/denied")
			l := newWire(t, w)
			authority := fmt.Sprintf("%s:%d", host, port(l.Addr()))
			c, err := w.tunnel(t, authority, host, "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			sent := strings.ReplaceAll(tt.sent, "Host: H\r", "Host: "+host+"\r")
			sent = strings.ReplaceAll(sent, host+":P/", authority+"/") + "GET /end HTTP/1.1\r\nConnection: close\r\nHost: " + authority + "\r\n\r\n"
			if _, err := io.WriteString(c, sent); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
			var got []string
			for _, line := range l.requests(t) {
				_, rest, _ := strings.Cut(line, " ")
				if path, _, _ := strings.Cut(rest, " "); path != "/end" {
					got = append(got, path)
				}
			}
			want := append([]string{"/a"}, tt.want...)
			if tt.refused {
				want = nil
			}
			if !slices.Equal(got, want) && (tt.refused || !slices.Equal(got, nil)) {
				t.Errorf("the server got %q, want %q; the client %.200q", got, want, answer)
			}
			if len(answer) == 0 {
				t.Error("the client got no answer")
			}
		})
	}
}

// What HTTP/2 can carry and HTTP/1.1 can't isn't sent on as something else.
func TestAttack_DowngradeSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	l := newWire(t, w)
	authority := fmt.Sprintf("%s:%d", host, port(l.Addr()))
	field := func(name, value string) []hpack.HeaderField {
		return []hpack.HeaderField{{Name: ":authority", Value: authority}, {Name: name, Value: value}}
	}
	for _, tt := range []struct {
		name, method, path, scheme string
		fields                     []hpack.HeaderField
	}{
		{"transfer-encoding", "POST", "/a", "https", field("transfer-encoding", "chunked")},
		{"line break in a value", "GET", "/a", "https", field("x-a", "b\r\nTransfer-Encoding: chunked\r\n\r\n")},
		{"line feed in a value", "GET", "/a", "https", field("x-a", "b\nx-c: d")},
		{"line break in a name", "GET", "/a", "https", field("x-a: b\r\nx-c", "d")},
		{"colon in a name", "GET", "/a", "https", field("x-a:b", "c")},
		{"space in a name", "GET", "/a", "https", field("transfer-encoding ", "chunked")},
		{"upper case in a name", "GET", "/a", "https", field("Transfer-Encoding", "chunked")},
		{"connection", "GET", "/a", "https", field("connection", "upgrade")},
		{"upgrade", "GET", "/a", "https", field("upgrade", "h2c")},
		{"line break in the path", "GET", "/a HTTP/1.1\r\nX-A: b\r\n\r\n", "https", field("x-a", "b")},
		{"space in the path", "GET", "/a HTTP/1.1", "https", field("x-a", "b")},
		{"space in the query", "GET", "/a?b HTTP/1.1", "https", field("x-a", "b")},
		{"line break in the method", "GET /hidden HTTP/1.1\r\n", "/a", "https", field("x-a", "b")},
		{"space in the method", "GET /hidden", "/a", "https", field("x-a", "b")},
		{"line break in the authority", "GET", "/a", "https", []hpack.HeaderField{{Name: ":authority", Value: authority + "\r\nX-A: b"}}},
		{"line break in the scheme", "GET", "/a", "https\r\nX-A: b", field("x-a", "b")},
		{"another scheme", "GET", "http://other.example.com/", "http", field("x-a", "b")},
		{"no path", "GET", "", "https", field("x-a", "b")},
		{"te", "GET", "/a", "https", field("te", "chunked")},
	} {
		status, body := raw2(t, w, authority, tt.method, tt.path, tt.scheme, tt.fields)
		if status != "400" && status != "reset" && status != "403" && status != "501" {
			t.Errorf("%s: %s %s", tt.name, status, body)
		}
	}
	if got := l.requests(t); len(got) != 0 {
		t.Errorf("the server got %q", got)
	}
}

// Headers that end at a proxy end here, whatever Connection names is removed before a value is put into it, and nothing is added.
func TestAttack_HopByHop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	l := newWire(t, w)
	authority := fmt.Sprintf("%s:%d", host, port(l.Addr()))
	c, err := w.tunnel(t, authority, host, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(c, "GET /a HTTP/1.1\r\nHost: %s\r\nConnection: close, Authorization, X-Secret\r\nAuthorization: Bearer %s\r\nX-Secret: 1\r\nKeep-Alive: 1\r\n"+
		"Proxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 x\r\n\r\n", authority, placeholder)
	_, _ = io.ReadAll(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	head := string(bytes.Join(l.got, nil))
	want := "GET /a HTTP/1.1\r\nHost: " + authority + "\r\nForwarded: for=1.2.3.4\r\nTe: trailers\r\nVia: 1.1 x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
	if head != want {
		t.Errorf("the server got %q, want %q", head, want)
	}
	if e := w.last(); len(e.Swapped) != 0 {
		t.Error("a value was put into a header that isn't sent")
	}
}
