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
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// target is a server that must not be reached.
func target(t *testing.T, w *world) (port int, reached func() bool) {
	t.Helper()
	got := make(chan struct{}, 100)
	port = w.server(t, true, func(http.ResponseWriter, *http.Request) { got <- struct{}{} })
	return port, func() bool { return len(got) > 0 }
}

// A connection to one host whose TLS handshake names another is refused: CONNECT and SNI must agree.
func TestAttack_FrontingSNI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow("front.example.com", true)
	w.allow(other, false)
	w.allow("free.example.com", false)
	w.allow("127.0.0.1", false)
	port, reached := target(t, w)
	for _, tt := range []struct{ name, connect, sni, want string }{
		{"of a host with rules by another with rules", host, "front.example.com", "421"},
		{"of a host with rules by one without", host, other, "certificate"},
		{"of a host without rules by one with rules", other, host, "421"},
		{"of a host without rules by another without", other, "free.example.com", "closed"},
		{"with a trailing dot", other, host + ".", "421"},
		{"with an IP address", "127.0.0.1", host, "421"},
		{"with an address in CONNECT and no rules", "127.0.0.1", other, "closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, res := w.connect(t, fmt.Sprintf("%s:%d", tt.connect, port))
			if res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			secure := tls.Client(c, &tls.Config{RootCAs: w.roots(), ServerName: tt.sni})
			err := secure.HandshakeContext(t.Context())
			got := "closed"
			switch {
			case err == nil:
				_, _ = fmt.Fprintf(secure, "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", tt.sni, placeholder)
				answer, err := http.ReadResponse(bufio.NewReader(secure), nil)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(answer.Body)
				got = fmt.Sprint(answer.StatusCode)
				if reason := reasonOf(t, string(body)); reason != "host" {
					t.Errorf("reason %q", reason)
				}
			case strings.Contains(err.Error(), "certificate is valid for"):
				got = "certificate"
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
	if reached() {
		t.Error("a request was sent")
	}
}

// A request for another host than the connection's is refused, in all ways to write a host, and in HTTP/2.
func TestAttack_FrontingHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow(other, true)
	w.allow("xn--bcher-kva.example.com", true)
	port, reached := target(t, w)
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: other.example.com\r\n",
		"GET / HTTP/1.1\r\nHost: other.example.com.\r\n",
		"GET / HTTP/1.1\r\nHost: OTHER.example.com\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com:1\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com:0443\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com:\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com..\r\n",
		"GET / HTTP/1.1\r\nHost: other.example.com@api.example.com\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com@other.example.com\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com, other.example.com\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com/\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com%00\r\n",
		"GET / HTTP/1.1\r\nHost: api%2eexample.com\r\n",
		"GET / HTTP/1.1\r\nHost: b\u00fccher.example.com\r\n", // the ASCII form has rules, but isn't the connection's
		"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]\r\n",
		"GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n",
		"GET / HTTP/1.1\r\nHost: [fe80::1%lo]\r\n",
		"GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: other.example.com\r\n",
		"GET / HTTP/1.1\r\nHost: other.example.com\r\nHost: api.example.com\r\n",
		"GET / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n",
		"GET https://other.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n",
		"GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n",
		"GET https://u:p@api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n",
		"GET ftp://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n",
		"GET api.example.com:x HTTP/1.1\r\nHost: api.example.com\r\n",
		"CONNECT other.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n",
		"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n",
	} {
		c, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, port), host, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "%sAuthorization: Bearer %s\r\n\r\n", head, placeholder)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		if res.StatusCode != 400 && res.StatusCode != 403 && res.StatusCode != 421 {
			t.Errorf("%q: %s", head, res.Status)
		}
		_ = c.Close()
	}
	// Other forms of the same host are the same host, and the server gets its normal form.
	if reached() {
		t.Fatal("a request was sent")
	}
	_, body := get(t, w.client(t, true), urlOf("API.example.com.", w.server(t, true, echo), "/"))
	if !strings.HasPrefix(body, "HTTP/2.0 api.example.com:") {
		t.Errorf("the server got %q", body)
	}
}

// A request without TLS is checked too, however it is written and however slowly it is sent. Other protocols pass.
func TestAttack_FrontingPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{Handshake: 500 * time.Millisecond})
	w.allow(other, false)
	l := w.echoBytes(t)
	const rest = " HTTP/1.1\r\nHost: denied.example.com\r\n\r\n"
	for _, parts := range [][]string{
		{"GET /" + rest}, {"G3T /" + rest}, {"M! /a" + rest}, {"GET\t/x" + rest}, {"GET\v/x" + rest}, {"GET \x1c/x" + rest}, {" GET /x" + rest}, {"\tGET /x" + rest},
		{"GET  \t /x" + rest}, {"GET x" + rest}, {"GET x\xff" + rest}, {"GET x\tHTTP/1.1\nHost: denied.example.com\n\n"}, {"GET x http/1.1\r\n\r\n"},
		{strings.Repeat("A", 33) + " /x" + rest}, {strings.Repeat("A", 20_000) + " /x" + rest}, {"A " + strings.Repeat("a", 20_000) + rest}, {"\r\n\r\nGET /x" + rest},
		{"GET", " /x" + rest}, {"G", "ET /x" + rest}, {"GET ", "x" + rest}, {"GET x HTT", "P/1.1\r\n\r\n"},
	} {
		c, _ := w.connect(t, recorder{l}.at(other))
		for i, part := range parts {
			if i > 0 {
				time.Sleep(600 * time.Millisecond)
			}
			_, _ = io.WriteString(c, part)
		}
		_ = c.SetReadDeadline(time.Now().Add(generous))
		const refused = "HTTP/1.1 4"
		answer := make([]byte, len(refused))
		if n, err := io.ReadFull(c, answer); n > 0 && string(answer) != refused || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.60q: %.60q, %v", parts, answer[:n], err)
		}
	}
	for _, text := range []string{
		"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "get key\r\n", "PING\r\n", "*1\r\n$4\r\nPING\r\n", "<?xml version='1.0'?><stream:stream to='x'>", "\x00\x01", "\x10MQTT",
		"INVITE sip:b@x SIP/2.0\r\n", "CONNECT {\"verbose\":false}\r\n", "GET \x00\x01 /x HTTP/1.1\r\n",
	} {
		c, _ := w.connect(t, recorder{l}.at(other))
		_, _ = io.WriteString(c, text)
		_ = c.SetReadDeadline(time.Now().Add(generous))
		answer := make([]byte, len(text))
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != text {
			t.Errorf("%q: %q, %v", text, answer, err)
		}
		_ = c.Close()
	}
}

// A request of HTTP/2 has one host, that of the connection.
func TestAttack_FrontingAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port, reached := target(t, w)
	authority := fmt.Sprintf("%s:%d", host, port)
	for _, fields := range [][]hpack.HeaderField{
		{{Name: ":authority", Value: other}},
		{{Name: ":authority", Value: authority}, {Name: "host", Value: other}},
		{{Name: "host", Value: other}},
		{{Name: ":authority", Value: "u@" + authority}},
		{{Name: ":authority", Value: "[fe80::1%lo]"}},
		{{Name: ":authority", Value: "b\u00fccher.example.com"}},
		{},
	} {
		status, body := raw2(t, w, authority, "GET", "/", "https", append(fields, hpack.HeaderField{Name: "authorization", Value: "Bearer " + placeholder}))
		if status != "400" && status != "421" && status != "reset" {
			t.Errorf("%v: %s %s", fields, status, body)
		}
	}
	if reached() {
		t.Error("a request was sent")
	}
}

// raw2 sends one request of HTTP/2 in a tunnel, field by field, and returns the status, or "reset".
func raw2(t *testing.T, w *world, to, method, path, scheme string, fields []hpack.HeaderField) (status, body string) {
	t.Helper()
	c, err := w.tunnel(t, to, host, "h2")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":path", Value: path}, {Name: ":scheme", Value: scheme}}, fields...) {
		_ = encoder.WriteField(f)
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return "reset", err.Error()
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
			if f.StreamEnded() {
				return status, body
			}
		case *http2.DataFrame:
			body += string(f.Data())
			if f.StreamEnded() {
				return status, body
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset", ""
		}
	}
}

// A host of CONNECT that isn't the plain name of a host, or an address, is refused.
func TestAttack_ConnectHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	for _, to := range []string{
		"u@api.example.com:443", "api.example.com", "api.example.com:", "api.example.com:0", "api.example.com:65536", "api.example.com:+443",
		"api.example.com:443:443", "[fe80::1%25lo]:443", "[fe80::1%lo]:443", "[::1", "::1:443", "0x7f.1:443", "2130706433:443", "127.1:443", "0177.0.0.1:443",
		"api%2eexample.com:443", "*.example.com:443", "-x.example.com:443", ":443", "api..example.com:443", "/api.example.com:443",
	} {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(generous))
		_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, host)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", to, res.Status)
		}
		_ = c.Close()
	}
}

// Addresses that aren't public are refused unless a rule names the host, whatever way leads to them.
func TestAttack_PrivateAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	port, reached := target(t, w)
	w.names.Set("private.wild.example.com", "127.0.0.1")
	w.names.Set("metadata.example.com", "169.254.169.254")
	w.change(func() { w.hosts = append(w.hosts, "*.wild.example.com") })
	for _, tt := range []struct{ to, want string }{
		{"127.0.0.1", "403"}, {"[::1]", "403"}, {"[::ffff:127.0.0.1]", "403"}, {"169.254.169.254", "403"}, {"[fd00:ec2::254]", "403"}, {"10.0.0.1", "403"},
		{"0.0.0.0", "403"}, {"metadata.example.com", "403"}, {"unknown.example.com", "502"},
	} {
		_, res := w.connect(t, fmt.Sprintf("%s:%d", tt.to, port))
		body, _ := io.ReadAll(res.Body)
		if fmt.Sprint(res.StatusCode) != tt.want {
			t.Errorf("%s: %s, %s", tt.to, res.Status, body)
		}
	}
	res, body := get(t, w.client(t, true), urlOf("private.wild.example.com", port, "/"))
	if res.StatusCode != http.StatusForbidden || reasonOf(t, body) != "address" {
		t.Errorf("with rules: %s, %s", res.Status, body)
	}
	res, body = get(t, w.client(t, false), fmt.Sprintf("http://127.0.0.1:%d/", port))
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("plain http: %s, %s", res.Status, body)
	}
	if reached() {
		t.Error("a request was sent")
	}
}

// A certificate of another host, or of another authority, isn't accepted, and nothing is sent.
func TestAttack_UpstreamCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	for name, config := range map[string]*tls.Config{
		"another host":      {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.internet.Certificate(other) }},
		"another authority": {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.authority.Certificate(host) }},
		"TLS 1.1":           {MaxVersion: tls.VersionTLS11, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.internet.Certificate(host) }},
	} {
		l := tls.NewListener(listen(t), config)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if n, _ := c.Read(make([]byte, 1)); n > 0 {
						t.Errorf("%s: a request was sent", name)
					}
				}()
			}
		}()
		res, body := get(t, w.client(t, true), urlOf(host, w.open(l), "/"))
		if res.StatusCode != http.StatusBadGateway || name != "TLS 1.1" && reasonOf(t, body) != "certificate" {
			t.Errorf("%s: %s, %s", name, res.Status, body)
		}
	}
}

// Nothing is swapped without TLS, and a placeholder isn't sent on.
func TestAttack_PlainHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow(other, false)
	l := listen(t)
	w.open(l)
	server := &http.Server{ReadHeaderTimeout: generous, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })}
	go server.Serve(l) // until the listener is closed
	for _, name := range []string{host, other} {
		res, body := get(t, w.client(t, false), "http://"+recorder{l}.at(name)+"/")
		want := map[string]string{host: "plain_http", other: "placeholder"}[name]
		if res.StatusCode != http.StatusForbidden || reasonOf(t, body) != want {
			t.Errorf("%s: %s, %s", name, res.Status, body)
		}
		// In a tunnel without TLS, it is the same.
		c, _ := w.connect(t, recorder{l}.at(name))
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", recorder{l}.at(name), placeholder)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusForbidden || reasonOf(t, string(text)) != want {
			t.Errorf("%s in a tunnel: %s, %s", name, res.Status, text)
		}
	}
	// Neither is what isn't HTTP: the server would see no value, and the client a way around the rules.
	for _, first := range []string{"SSH-2.0-x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x01"} {
		c, _ := w.connect(t, recorder{l}.at(host))
		_, _ = io.WriteString(c, first)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%q: %d bytes, %v", first, n, err)
		}
	}
	if e := w.last(); e.Reason != "plaintext" {
		t.Errorf("event %+v", e)
	}
}

// A redirect is the client's to follow, so the next host is checked again.
func TestAttack_Redirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow(other, false)
	port, reached := target(t, w)
	first := w.server(t, true, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, urlOf(other, port, "/"), http.StatusTemporaryRedirect)
	})
	res, _ := get(t, w.client(t, true), urlOf(host, first, "/"))
	if res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != urlOf(other, port, "/") || reached() {
		t.Errorf("got %s to %q, followed %v", res.Status, res.Header.Get("Location"), reached())
	}
}
