package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

var quiet = log.New(io.Discard, "", 0)

// echo answers with what it received in the Authorization header, in a header, the body and a trailer.
func echo(w http.ResponseWriter, r *http.Request) {
	got := r.Header.Get("Authorization")
	w.Header().Set("Trailer", "X-Trailer")
	w.Header().Set("X-Echo", got)
	w.Header().Set("Alt-Svc", `h3=":443"`)
	fmt.Fprintf(w, "%s %s %s\n", r.Proto, r.Host, got)
	w.Header().Set("X-Trailer", got)
}

// Each leg speaks what it can, whatever the other speaks. The server gets the value, and the client sees nothing of it.
func TestSwap(t *testing.T) {
	t.Parallel()
	for _, client2 := range []bool{false, true} {
		for _, server2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("client h2 %v, server h2 %v", client2, server2), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, proxy.Limits{})
				w.allow(host, true)
				received := make(chan string, 1)
				port := w.server(t, server2, func(rw http.ResponseWriter, r *http.Request) {
					received <- r.Header.Get("Authorization")
					echo(rw, r)
				})
				res, body := get(t, w.client(t, client2), urlOf(host, port, "/a%2fb?q=%zz;&x"))
				if got := <-received; got != "Bearer "+value {
					t.Errorf("the server got %d bytes, want the value", len(got))
				}
				want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}
				if wanted := fmt.Sprintf("%s %s:%d Bearer %s\n", want[server2], host, port, masked); body != wanted {
					t.Errorf("body %q, want %q", body, wanted)
				}
				if res.Proto != want[client2] {
					t.Errorf("the client was answered in %s, want %s", res.Proto, want[client2])
				}
				if got := res.Header.Get("X-Echo"); got != "Bearer "+masked {
					t.Errorf("header %q", got)
				}
				if got := res.Trailer.Get("X-Trailer"); got != "Bearer "+masked {
					t.Errorf("trailer %q", got)
				}
				if res.Header.Get("Alt-Svc") != "" {
					t.Error("the response names a way around the proxy")
				}
				if e := w.last(); e.Host != host || e.Path != "/a%2fb" || e.StatusCode != 200 || len(e.Swapped) != 1 {
					t.Errorf("event %+v", e)
				}
			})
		}
	}
}

// A connection to a host without rules is passed on as it is: the client sees the server's own certificate.
func TestSplice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(other, false)
	port := w.server(t, true, echo)
	res, body := get(t, w.client(t, true), urlOf(other, port, "/"))
	if want := fmt.Sprintf("HTTP/2.0 %s:%d Bearer %s\n", other, port, placeholder); body != want || res.Header.Get("Alt-Svc") == "" {
		t.Errorf("got %q, want %q and the header Alt-Svc", body, want)
	}
	if issuer := res.TLS.PeerCertificates[0].Issuer.CommonName; issuer != "miosa-egress internet" {
		t.Errorf("the certificate is from %q", issuer)
	}
	if e := w.last(); e.Method != "" || e.Host != other || e.Effect != api.EffectAllow || e.Path != "" {
		t.Errorf("event %+v", e)
	}
}

// The bytes of a spliced connection are those that the client sent, from the first on.
func TestSpliceBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(other, false)
	got := make(chan []byte, 1)
	to := record(t, got)
	c, res := w.connect(t, to.at(other))
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	sent := &bytes.Buffer{}
	_ = tls.Client(recording{c, sent}, &tls.Config{ServerName: other, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS10}).HandshakeContext(t.Context())
	_ = c.(*net.TCPConn).CloseWrite()
	if received := <-got; !bytes.Equal(received, sent.Bytes()) {
		t.Errorf("the server received %d bytes, want the %d of the client", len(received), sent.Len())
	}
}

// recording is a connection of which what is written is kept, and from which nothing is read.
type recording struct {
	net.Conn
	to *bytes.Buffer
}

func (c recording) Write(p []byte) (int, error) {
	c.to.Write(p)
	return c.Conn.Write(p)
}

func (recording) Read([]byte) (int, error) { return 0, io.EOF }

// recorder is a server that keeps what one connection sends.
type recorder struct{ net.Listener }

func (r recorder) at(host string) string { return fmt.Sprintf("%s:%d", host, port(r.Addr())) }

func record(t testing.TB, got chan<- []byte) recorder {
	t.Helper()
	l := listen(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(generous))
		all, _ := io.ReadAll(c)
		got <- all
	}()
	return recorder{l}
}

// In a tunnel without TLS and HTTP, each side may end its direction, and the server may begin.
func TestSpliceOtherProtocols(t *testing.T) {
	t.Parallel()
	for _, serverFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("server first %v", serverFirst), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, proxy.Limits{Handshake: time.Second})
			w.allow(other, false)
			l := listen(t)
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				if serverFirst {
					_, _ = c.Write([]byte("220 hello\r\n"))
				}
				all, _ := io.ReadAll(c) // until the client's half is closed
				_, _ = fmt.Fprintf(c, "got %s", all)
			}()
			c, _ := w.connect(t, recorder{l}.at(other))
			greeting := ""
			if serverFirst {
				greeting = "220 hello\r\n"
				buffer := make([]byte, len(greeting))
				if _, err := io.ReadFull(c, buffer); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = c.Write([]byte("EHLO client\r\n"))
			_ = c.(*net.TCPConn).CloseWrite()
			answer, err := io.ReadAll(c)
			if err != nil || string(answer) != "got EHLO client\r\n" {
				t.Errorf("got %q, %v after %q", answer, err, greeting)
			}
		})
	}
}

func TestPolicyDenies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow(other, false)
	w.deny("r_host", other, "")
	w.deny("r_path", host, "/denied/**")
	port := w.server(t, true, echo)
	_, res := w.connect(t, fmt.Sprintf("%s:%d", other, port))
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	if res.StatusCode != http.StatusForbidden || reasonOf(t, string(body)) != "policy" || res.Header.Get("Proxy-Status") == "" {
		t.Errorf("CONNECT: %s, %s", res.Status, body)
	}
	if e := w.last(); e.StatusCode != http.StatusForbidden || !e.Refused || e.RuleID != "r_host" || e.Reason != "policy" {
		t.Errorf("event %+v", e)
	}
	// At a host with rules, paths are known, and the client can read why.
	res, text := get(t, w.client(t, true), urlOf(host, port, "/denied/x"))
	why := fmt.Sprintf(`"message":"the network policy denies GET /denied/x at %s:%d"`, host, port)
	if res.StatusCode != http.StatusForbidden || reasonOf(t, text) != "policy" || !strings.Contains(text, why) {
		t.Errorf("GET: %s, %s", res.Status, text)
	}
}

// A host whose policy is about paths is decrypted without a rule for values: none is put into its requests.
func TestPolicyOfPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow("paths.example.com", false)
	w.deny("r_path", "paths.example.com", "/denied/**")
	port := w.server(t, true, echo)
	for path, want := range map[string]string{"/denied/x": "policy", "/allowed": "placeholder"} {
		res, text := get(t, w.client(t, true), urlOf("paths.example.com", port, path))
		if res.StatusCode != http.StatusForbidden || reasonOf(t, text) != want {
			t.Errorf("%s: %s, %s", path, res.Status, text)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, urlOf("paths.example.com", port, "/allowed"), nil)
	res, err := w.client(t, true).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("without a placeholder: %s %s %v", res.Status, body, err)
	}
}

// What a server sends is passed on at once, and what a client sends too, also before the other is done.
func TestStreams(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		for _, kind := range []string{"text/event-stream", "application/octet-stream"} {
			t.Run(fmt.Sprintf("h2 %v, %s", h2, kind), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, proxy.Limits{})
				w.allow(host, true)
				port := w.server(t, h2, func(rw http.ResponseWriter, r *http.Request) {
					control := http.NewResponseController(rw)
					_ = control.EnableFullDuplex()
					rw.Header().Set("Content-Type", kind)
					rw.WriteHeader(http.StatusOK)
					_ = control.Flush()
					buffer := make([]byte, 100)
					for {
						n, err := r.Body.Read(buffer)
						if n > 0 {
							_, _ = rw.Write(buffer[:n])
							_ = control.Flush()
						}
						if err != nil {
							return
						}
					}
				})
				reader, writer := io.Pipe()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(host, port, "/"), reader)
				if err != nil {
					t.Fatal(err)
				}
				res, err := w.client(t, h2).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				for i := range 20 {
					sent := fmt.Sprintf("data: %02d\n", i)
					if _, err := writer.Write([]byte(sent)); err != nil {
						t.Fatal(err)
					}
					got := make([]byte, len(sent))
					if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != sent {
						t.Fatalf("got %q, %v, want %q", got, err, sent)
					}
				}
				_ = writer.Close()
				if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
					t.Errorf("at the end: %q, %v", rest, err)
				}
			})
		}
	}
}

// The body of a request is sent only after the server asks for it, and not at all if it refuses the header.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2 %v", h2), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, proxy.Limits{})
			w.allow(host, true)
			port := w.server(t, h2, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/no" {
					rw.WriteHeader(http.StatusUnauthorized)
					return
				}
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(rw, n)
			})
			for path, want := range map[string]int{"/yes": http.StatusOK, "/no": http.StatusUnauthorized} {
				read := false
				body := readerFunc(func(p []byte) (int, error) { read = true; return 0, io.EOF })
				asked := false
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked = true }})
				r, err := http.NewRequestWithContext(ctx, http.MethodPut, urlOf(host, port, path), io.MultiReader(body, strings.NewReader("12345")))
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = 5
				r.Header.Set("Expect", "100-continue")
				res, err := w.client(t, false).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != want || read != (want == http.StatusOK) || asked != (want == http.StatusOK) {
					t.Errorf("%s: status %d, body read %v, asked for it %v", path, res.StatusCode, read, asked)
				}
			}
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Informational responses are passed on, without the value.
func TestInformationalResponses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port := w.server(t, true, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", r.Header.Get("Authorization"))
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(http.StatusNoContent)
	})
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, header.Get("Link")))
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, urlOf(host, port, "/"), nil)
	r.Header.Set("Authorization", "Bearer "+placeholder)
	res, err := w.client(t, true).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if len(hints) != 1 || hints[0] != "103Bearer "+masked && hints[0] != "103 Bearer "+masked {
		t.Errorf("got %q", hints)
	}
}

// The request to the server ends when the client goes.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2 %v", h2), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, proxy.Limits{})
			w.allow(host, true)
			begun, ended := make(chan struct{}), make(chan struct{})
			port := w.server(t, h2, func(_ http.ResponseWriter, r *http.Request) {
				close(begun)
				<-r.Context().Done()
				close(ended)
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-begun; cancel() }()
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, urlOf(host, port, "/"), nil)
			if res, err := w.client(t, h2).Do(r); err == nil {
				_ = res.Body.Close()
				t.Fatal("it was answered")
			}
			select {
			case <-ended:
			case <-time.After(generous):
				t.Error("the server still works")
			}
		})
	}
}

// A response that breaks off at the server breaks off at the client too.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		w := newWorld(t, proxy.Limits{})
		w.allow(host, true)
		port := w.server(t, h2, func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte("half"))
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		})
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, urlOf(host, port, "/"), nil)
		res, err := w.client(t, h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil {
			t.Errorf("h2 %v: it ended well after %q", h2, body)
		}
	}
}

// The handshake of a WebSocket has the value, and messages pass in both directions, without it.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port := w.server(t, true, webSocketEcho)
	c := w.webSocket(t, port, "Bearer "+placeholder)
	for _, want := range []string{"Bearer " + masked, "one", "two"} {
		var got string
		if err := websocket.Message.Receive(c, &got); err != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		if next := map[string]string{"Bearer " + masked: "one", "one": "two"}[want]; next != "" {
			if err := websocket.Message.Send(c, next); err != nil {
				t.Fatal(err)
			}
		}
	}
	if e := w.last(); e.StatusCode != http.StatusSwitchingProtocols || len(e.Swapped) != 1 {
		t.Errorf("event %+v", e)
	}
	_ = c.Close()
	poll.Until(t, generous, "the connection is given up", func() bool { return w.Connections() == 0 })
}

// webSocketEcho sends the Authorization header, and then what it receives.
func webSocketEcho(rw http.ResponseWriter, r *http.Request) {
	websocket.Server{Handler: func(c *websocket.Conn) {
		_ = websocket.Message.Send(c, r.Header.Get("Authorization"))
		_, _ = io.Copy(c, c)
	}}.ServeHTTP(rw, r)
}

// webSocket opens a WebSocket to host, with an Authorization header unless it is "".
func (w *world) webSocket(t testing.TB, port int, authorization string) *websocket.Conn {
	t.Helper()
	secure, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, port), host, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	config, err := websocket.NewConfig("wss"+strings.TrimPrefix(urlOf(host, port, "/ws"), "https"), "https://"+host)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		config.Header.Set("Authorization", authorization)
	}
	c, err := websocket.NewClient(config, secure)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// curl uses the proxy by CONNECT with both versions, and with absolute URLs.
func TestCurl(t *testing.T) {
	t.Parallel()
	needs.Command(t, "curl")
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port := w.server(t, true, echo)
	plain := listen(t)
	w.allow("plain.example.com", false)
	server := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: generous}
	go server.Serve(plain) // until the listener is closed
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, w.authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"HTTP/2", "200 2\nHTTP/2.0 ", []string{"--http2", urlOf(host, port, "/")}},
		{"HTTP/1.1", "200 1.1\nHTTP/2.0 ", []string{"--http1.1", urlOf(host, port, "/")}},
		{"HTTP/1.0", "200 1\nHTTP/2.0 ", []string{"--http1.0", "--proxytunnel", urlOf(host, port, "/")}},
		{"upload", "200 2\nHTTP/2.0 ", []string{"--http2", "-d", strings.Repeat("x", 100_000), urlOf(host, port, "/")}},
		{"chunked", "200 1.1\nHTTP/2.0 ", []string{"--http1.1", "-H", "Transfer-Encoding: chunked", "-d", "x", urlOf(host, port, "/")}},
		{"plain http without a placeholder", "200 1.1\nHTTP/1.1 ", []string{"-H", "Authorization: Bearer none", "http://" + recorder{plain}.at("plain.example.com") + "/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{
				"--silent", "--show-error", "--max-time", "30", "--proxy", "http://" + w.address, "--cacert", bundle, "--output", "-",
				"--write-out", "%{stderr}%{http_code} %{http_version}\n",
			}, tt.args...)
			if !strings.HasPrefix(tt.name, "plain") {
				args = append(args, "-H", "Authorization: Bearer "+placeholder)
			}
			cmd := exec.CommandContext(t.Context(), "curl", args...)
			cmd.Env = []string{"HOME=" + t.TempDir()}
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if got := stderr.String() + stdout.String(); err != nil || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, %v, want %q first", got, err, tt.want)
			}
			if strings.Contains(stdout.String(), value) {
				t.Error("curl got the value")
			}
		})
	}
}
