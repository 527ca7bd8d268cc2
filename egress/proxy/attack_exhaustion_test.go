package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A client that tries placeholders learns nothing about those that exist, is told the same each time, and can't fill the log.
func TestAttack_GuessedPlaceholders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port, reached := target(t, w)
	c := w.client(t, true)
	answers := map[string]int{}
	for i := range 300 {
		guess := placeholder[:len(placeholder)-3] + fmt.Sprintf("%03d", i) // near misses
		if i%2 == 0 {
			guess = fmt.Sprintf("miosa-tok-%026d", i)
		}
		r, _ := http.NewRequestWithContext(t.Context(), fmt.Sprintf("M%s", strings.Repeat("x", 1000)), urlOf(host, port, "/"), nil)
		r.Header.Set("Authorization", "Bearer "+guess)
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		answers[res.Status+string(body)]++
		if strings.Contains(string(body), guess) {
			t.Fatal("the answer has the placeholder")
		}
	}
	if len(answers) != 1 {
		t.Errorf("%d different answers: %v", len(answers), answers)
	}
	if reached() {
		t.Error("a request was sent")
	}
	log := w.log.String()
	if n, size := strings.Count(log, "\n"), len(log); n < 100 || n > 110 || size > n*500 || strings.Contains(log, "miosa-tok") {
		t.Errorf("%d lines and %d bytes in the log, starting with %.500s", n, size, log)
	}
	if e := w.last(); len(e.Method) > 32 || e.Reason != "placeholder" {
		t.Errorf("event %+v", e)
	}
}

// Requests that one connection of HTTP/2 opens and resets at once don't pile up, and neither do their connections to the server.
func TestAttack_RapidReset(t *testing.T) {
	t.Parallel()
	const most = 50
	w := newWorld(t, proxy.Limits{Servers: most})
	w.allow(host, true)
	var mu sync.Mutex
	open := 0
	silent := &http.Server{ReadHeaderTimeout: generous, ErrorLog: quiet, ConnState: func(_ net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch s {
		case http.StateNew:
			open++
		case http.StateClosed, http.StateHijacked:
			open--
		default:
		}
	}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
	silent.TLSConfig = w.serverTLS()
	silent.Protocols = new(http.Protocols)
	silent.Protocols.SetHTTP1(true) // a connection for each request
	l := listen(t)
	port := w.open(l)
	go silent.ServeTLS(l, "", "") // until the listener is closed
	c, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, port), host, "h2")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, c)
	_ = framer.WriteSettings()
	go io.Copy(io.Discard, c) // until the connection is closed
	for i := range uint32(1000) {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range [][2]string{{":method", "GET"}, {":path", "/"}, {":scheme", "https"}, {":authority", fmt.Sprintf("%s:%d", host, port)}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}) != nil ||
			framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
			break // the proxy has ended the connection
		}
	}
	_ = c.Close()
	poll.Until(t, generous, "the client's connection and most of those to the server are closed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return w.Connections() == 0 && open <= most // those that are kept for later requests
	})
	w.Changed()
	if res, _ := get(t, w.client(t, true), urlOf(host, w.server(t, true, echo), "/")); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

// Requests at the same time, and connections to servers, have limits: those beyond are told so, and later ones are served.
func TestAttack_ManyRequests(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]proxy.Limits{"requests": {Requests: 10}, "servers": {Servers: 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, limits)
			w.allow(host, true)
			release := make(chan struct{})
			port := w.server(t, false, func(http.ResponseWriter, *http.Request) { <-release })
			c := w.client(t, true)
			statuses := make(chan string, 30)
			for range cap(statuses) {
				go func() {
					res, err := c.Get(urlOf(host, port, "/"))
					if err != nil {
						statuses <- err.Error()
						return
					}
					defer res.Body.Close()
					body, _ := io.ReadAll(res.Body)
					busy := bytes.Contains(body, []byte(`"reason":"busy"`))
					statuses <- fmt.Sprint(res.StatusCode, " busy ", busy)
				}()
			}
			for range 20 {
				if got := <-statuses; got != "503 busy true" {
					t.Errorf("got %s", got)
				}
			}
			close(release)
			for range 10 {
				if got := <-statuses; got != "200 busy false" {
					t.Errorf("got %s", got)
				}
			}
			if res, _ := get(t, c, urlOf(host, port, "/")); res.StatusCode != http.StatusOK {
				t.Error(res.Status)
			}
		})
	}
}

// A server that sends informational responses without end is read only as fast as the client reads, and only as long; values in them are
// removed.
func TestAttack_InformationalFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	sent := make(chan int, 1)
	port := w.server(t, false, func(rw http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		n := 0
		for ; ; n++ {
			if _, err := fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nX-Echo: %s\r\nX-Pad: %s\r\n\r\n", r.Header.Get("Authorization"), strings.Repeat("x", 4000)); err != nil {
				break
			}
		}
		sent <- n
	})
	c, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, port), host, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s:%d\r\nAuthorization: Bearer %s\r\n\r\n", host, port, placeholder)
	got := make([]byte, 1<<20)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(got, []byte(value)) || !bytes.Contains(got, []byte(masked)) {
		t.Errorf("the client got %.300q", got)
	}
	_ = c.Close()
	select {
	case <-sent:
	case <-time.After(generous):
		t.Error("the server still sends")
	}
}

// A trailer of any length that a server sends has the limit of a header, and one of a client too.
func TestAttack_HugeTrailers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port := w.server(t, false, func(rw http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil && len(r.Trailer.Get("X-Big")) > 1<<20 {
			t.Error("the server got the trailer")
		}
		rw.Header().Set("Trailer", "X-Big")
		_, _ = io.WriteString(rw, "body")
		rw.Header().Set("X-Big", strings.Repeat("x", 2<<20))
	})
	for _, h2 := range []bool{false, true} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(host, port, "/"), io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Big": {strings.Repeat("x", 2<<20)}}
		if res, err := w.client(t, h2).Do(r); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if len(res.Trailer.Get("X-Big")) > 0 {
				t.Errorf("h2 %v: the client got the trailer", h2)
			}
		}
		r, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, urlOf(host, port, "/"), nil)
		res, err := w.client(t, h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err == nil && len(res.Trailer.Get("X-Big")) > 0 {
			t.Errorf("h2 %v: the client got the trailer", h2)
		}
	}
}

// Small frames that decode into many large headers are refused: the limit is that of what they decode to.
func TestAttack_HeaderCompressionBomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port, reached := target(t, w)
	authority := fmt.Sprintf("%s:%d", host, port)
	fields := []hpack.HeaderField{{Name: ":authority", Value: authority}, {Name: "x-bomb", Value: strings.Repeat("x", 3000)}}
	for range 4000 { // of one byte each, 12 MB decoded
		fields = append(fields, fields[1])
	}
	if status, _ := raw2(t, w, authority, "GET", "/", "https", fields); status != "431" && status != "reset" {
		t.Errorf("got %s", status)
	}
	if reached() {
		t.Error("a request was sent")
	}
}

// A kept connection to an address that is not allowed any more is not used again.
func TestAttack_OldAddress(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		w := newWorld(t, proxy.Limits{})
		w.allow(host, true)
		port := w.server(t, h2, echo)
		c := w.client(t, true)
		if res, _ := get(t, c, urlOf(host, port, "/")); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		w.change(func() { w.hosts = []string{"*.example.com"} }) // it names no host, so none with a private address
		w.Changed()
		if res, body := get(t, c, urlOf(host, port, "/")); res.StatusCode != http.StatusForbidden || reasonOf(t, body) != "address" {
			t.Errorf("h2 %v: %s, %s", h2, res.Status, body)
		}
	}
}

// Two hosts with the same address have connections of their own, so that the server name and the certificate of one don't serve
// the other.
func TestAttack_SameAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow(other, true)
	port := w.server(t, true, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(rw, r.TLS.ServerName)
	})
	c := w.client(t, true)
	for _, name := range []string{host, other, host, other} {
		if _, body := get(t, c, urlOf(name, port, "/")); body != name {
			t.Errorf("a request to %s came through the connection of %s", name, body)
		}
	}
}

// Literal addresses of this machine in forms that only some programs read are refused by a request's host, too, and as absolute URLs.
func TestAttack_LiteralAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	l := listen(t)
	w.open(l)
	go func() {
		if _, err := l.Accept(); err == nil {
			t.Error("a connection was made")
		}
	}()
	for _, text := range []string{
		"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "017700000001", "0177.0.0.1", "0177.0x0.0.1", "00127.0.0.1",
		"127.0.0.1.", "127.0.0.01", "0", "0.0.0.0", "0x0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]",
		"[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[::1%lo]", "[::1%25lo]", "[fe80::1%25lo]", "[::ffff:127.0.0.1%25lo]",
		"\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "2852039166", "0xa9fea9fe", "100.64.0.1", "[fec0::1]",
	} {
		to := fmt.Sprintf("%s:%d", text, port(l.Addr()))
		_, res := w.connect(t, to)
		if res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusForbidden {
			t.Errorf("CONNECT %s: %s", to, res.Status)
		}
		c := dialed(t, w)
		_, _ = fmt.Fprintf(c, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", to, to)
		answer, _ := io.ReadAll(c)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400")) && !bytes.HasPrefix(answer, []byte("HTTP/1.1 403")) {
			t.Errorf("GET http://%s/: %.40q", to, answer)
		}
	}
}

// An upgrade is to one protocol, in which no requests are sent that nobody checks, and HTTP/2 has none at all.
func TestAttack_Upgrades(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port, reached := target(t, w)
	authority := fmt.Sprintf("%s:%d", host, port)
	for _, upgrade := range []string{"h2c", "H2C", "h2", "HTTP/2.0", "http/1.1", "TLS/1.0", "TLS/1.2, HTTP/1.1", "websocket, h2c", "h2c, websocket", "websocket h2c"} {
		c, err := w.tunnel(t, authority, host, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", authority, upgrade)
		answer, _ := io.ReadAll(c)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 403")) {
			t.Errorf("%s: %.40q", upgrade, answer)
		}
	}
	extended := []hpack.HeaderField{{Name: ":protocol", Value: "websocket"}, {Name: ":authority", Value: authority}}
	for name, fields := range map[string][]hpack.HeaderField{
		"extended CONNECT":             extended,
		"CONNECT":                      extended[1:],
		"two authorities":              {extended[1], extended[1]},
		"two methods":                  {extended[1], {Name: ":method", Value: "POST"}},
		"two paths":                    {extended[1], {Name: ":path", Value: "/b"}},
		"a status":                     {extended[1], {Name: ":status", Value: "200"}},
		"an unknown pseudo-header":     {extended[1], {Name: ":host", Value: other}},
		"a pseudo-header after others": {{Name: "x-a", Value: "b"}, extended[1]},
		"an upgrade":                   {extended[1], {Name: "connection", Value: "upgrade"}, {Name: "upgrade", Value: "websocket"}},
		"TE":                           {extended[1], {Name: "te", Value: "chunked"}},
		"upper case":                   {extended[1], {Name: "X-Upper", Value: "b"}},
	} {
		method := "GET"
		if strings.Contains(name, "CONNECT") {
			method = "CONNECT"
		}
		if status, body := raw2(t, w, authority, method, "/", "https", fields); status != "reset" && status != "400" {
			t.Errorf("%s: %s %s", name, status, body)
		}
	}
	if reached() {
		t.Error("a request was sent")
	}
}

// Responses that have no body don't get one, and no value is in what a server sends after them, even if it is taken for the response to
// the next request.
func TestAttack_ResponseSplitting(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, head string }{
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"GET", "HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\nContent-Length: 0\r\n\r\n"},
	} {
		w := newWorld(t, proxy.Limits{})
		w.allow(host, true)
		l := listen(t)
		secure := w.serverTLS()
		secure.NextProtos = []string{"http/1.1"}
		port := w.open(l)
		server := &http.Server{ReadHeaderTimeout: generous, ErrorLog: quiet, TLSConfig: secure, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/second" {
				return
			}
			c, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, tt.head+"HTTP/1.1 200 OK\r\nX-Smuggled: "+r.Header.Get("Authorization")+"\r\nContent-Length: 8\r\n\r\nsmuggled")
			}
		})}
		go server.ServeTLS(l, "", "") // until the listener is closed
		c := w.client(t, false)
		for _, path := range []string{"/first", "/second", "/second"} {
			r, _ := http.NewRequestWithContext(t.Context(), tt.method, urlOf(host, port, path), nil)
			r.Header.Set("Authorization", "Bearer "+placeholder)
			res, err := c.Do(r)
			if err != nil {
				t.Fatalf("%q: %v", tt.head, err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if smuggled := res.Header.Get("X-Smuggled"); strings.Contains(smuggled, value) || path == "/first" && (smuggled != "" || len(body) > 0) {
				t.Errorf("%s, %q: the client got the second response: %q %q", path, tt.head, smuggled, body)
			}
		}
	}
}

// A placeholder in a trailer is text, as no rule can name one: what a server makes of it has no value.
func TestAttack_Trailers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	for _, h2 := range []bool{false, true} {
		port := w.server(t, h2, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(rw, r.Header.Get("Authorization"), " ", r.Trailer.Get("X-Key"), " ", r.Trailer.Get("Authorization"))
		})
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(host, port, "/"), io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Key": {placeholder}, "Authorization": {"Bearer " + placeholder}}
		res, err := w.client(t, h2).Do(r)
		if err != nil {
			continue // such a trailer isn't permitted
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if strings.Contains(string(body), masked) || strings.Contains(string(body), value) || len(w.last().Swapped) > 0 {
			t.Errorf("h2 %v: got %q", h2, body)
		}
	}
}
