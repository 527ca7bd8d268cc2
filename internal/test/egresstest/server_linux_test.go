package egresstest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/Miosa-osa/miosa-env/egress/ca"
)

// servers lists the servers: what answers at each host, and what it speaks.
var servers = []struct {
	host    string
	handler func(*world, http.ResponseWriter, *http.Request) // nil: gRPC
	protos  []string                                         // of TLS; nil: none
}{
	{apiHost, (*world).answer, []string{"h2", "http/1.1"}},
	{oldHost, (*world).answer, []string{"http/1.1"}},
	{secondHost, (*world).answer, []string{"h2", "http/1.1"}},
	{plainHost, (*world).answer, nil},
	{modelHost, (*world).complete, []string{"h2", "http/1.1"}},
	{gitHost, (*world).git, []string{"h2", "http/1.1"}},
	{storeHost, (*world).store, []string{"http/1.1"}},
	{socketHost, (*world).socket, []string{"http/1.1"}},
	{rpcHost, nil, []string{"h2"}},
}

// serverAddress is a public address, in the network of the test.
func serverAddress(i int) string { return fmt.Sprintf("1.2.3.%d", 10+i) }

// serve starts the servers on the internet, each at an address of its own.
func (w *world) serve(t *testing.T) {
	t.Helper()
	var err error
	if w.internet, err = ca.New("the internet", nil); err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		address, port := serverAddress(i), "443"
		if s.protos == nil {
			port = "80"
		}
		w.far.Run(t, "ip", "addr", "add", address+"/32", "dev", "lo")
		var l net.Listener
		w.far.Do(func() { l, err = net.Listen("tcp", net.JoinHostPort(address, port)) })
		if err != nil {
			t.Fatal(err)
		}
		count := new(atomic.Int64)
		w.accepted[s.host] = count
		l = counting{l, count}
		config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: s.protos, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.internet.Certificate(s.host) }}
		if s.handler == nil {
			server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
			server.RegisterService(w.echoService(), nil)
			go func() { _ = server.Serve(l) }()
			t.Cleanup(server.Stop)
			continue
		}
		server := &http.Server{
			Handler:   http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { s.handler(w, rw, r) }),
			TLSConfig: config, ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0),
		}
		go func() {
			if s.protos == nil {
				_ = server.Serve(l)
			} else {
				_ = server.ServeTLS(l, "", "")
			}
		}()
		t.Cleanup(func() { _ = server.Close() })
	}
}

// counting counts the connections that it accepts.
type counting struct {
	net.Listener
	count *atomic.Int64
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.count.Add(1)
	}
	return conn, err
}

// saw notes that a server has received the value of a secret, and returns what it answers: which version that was, and, as
// careless servers do, the value.
func (w *world) saw(client, variable, value, proto string) string {
	version := w.versionOf(variable, value)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.versions[client] = append(w.versions[client], version)
	return fmt.Sprintf("version %d over %s, you sent %s", version, proto, value)
}

// received returns the versions that servers have received from a client.
func (w *world) received(client string) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.versions[client]
}

// gate holds an answer back.
type gate struct{ reached, released chan struct{} }

// gate returns that of a client.
func (w *world) gate(client string) *gate {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gates[client] == nil {
		w.gates[client] = &gate{make(chan struct{}, 1), make(chan struct{})}
	}
	return w.gates[client]
}

// wait waits until the gate is released.
func (g *gate) wait(ctx context.Context) {
	select {
	case g.reached <- struct{}{}:
	default:
	}
	select {
	case <-g.released:
	case <-ctx.Done():
	}
}

func bearer(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// answer answers at /CLIENT, and at /CLIENT/hold in two parts, the second when the gate is released.
func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	client, hold, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	rw.Header().Set("X-Echo", r.Header.Get("Authorization"))
	line := w.saw(client, "API_TOKEN", bearer(r), r.Proto) + "\n"
	var to io.Writer = rw
	flush := http.NewResponseController(rw).Flush
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		rw.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(rw)
		defer func() { _ = z.Close() }()
		to, flush = z, func() error { return errors.Join(z.Flush(), http.NewResponseController(rw).Flush()) }
	}
	_, _ = io.WriteString(to, line)
	if hold != "" {
		_ = flush()
		w.gate(client).wait(r.Context())
	}
}

// complete is a server of a model: it answers with server-sent events. Messages may have placeholders, which are text.
func (w *world) complete(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || !bytes.Contains(body, []byte("my key is "+w.placeholders["OPENAI_API_KEY"])) {
		http.Error(rw, "the messages aren't those of the client", http.StatusBadRequest)
		return
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	text := w.saw(strings.TrimPrefix(r.URL.Path, "/v1/"), "OPENAI_API_KEY", bearer(r), r.Proto)
	half := len(text) - 20 // within the value
	for _, part := range []string{"data: " + text[:half], text[half:] + "\n\n", "data: [DONE]\n\n"} {
		_, _ = io.WriteString(rw, part)
		_ = http.NewResponseController(rw).Flush()
	}
}

// socket echoes the messages of a WebSocket, and what its handshake had.
func (w *world) socket(rw http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	line := w.saw(strings.TrimPrefix(r.URL.Path, "/"), "API_TOKEN", bearer(r), r.Proto)
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, fmt.Appendf(nil, "%s (%s)", line, message)); err != nil {
			return
		}
	}
}

// echoService answers with what the metadata has.
func (w *world) echoService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Once", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var m wrapperspb.StringValue
			if err := decode(&m); err != nil {
				return nil, err
			}
			md, _ := metadata.FromIncomingContext(ctx)
			got := strings.TrimPrefix(strings.Join(md.Get("authorization"), ","), "Bearer ")
			line := w.saw(m.GetValue(), "API_TOKEN", got, "gRPC")
			return wrapperspb.String(line), errors.Join(grpc.SetHeader(ctx, metadata.Pairs("x-echo", got)), grpc.SetTrailer(ctx, metadata.Pairs("x-echo-end", got)))
		},
	}}}
}
