package socket

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/listener"
)

// httpGet begins a request that is answered over HTTP. Those never get a value.
var httpGet = []byte("GET ")

// maxPages is the most connections to the metrics port that are served at a time.
const maxPages = 16

// ListenMetrics listens on a host and port of the loopback interface, such as 127.0.0.1:9464. It refuses other hosts,
// since metrics aren't for the network.
func ListenMetrics(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("metrics on %q: want a loopback address and a port, as in 127.0.0.1:9464", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		if host == "" {
			host = "every address"
		}
		return nil, fmt.Errorf("metrics on %q: %s isn't a loopback address, as in 127.0.0.1:9464", address, host)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics on %s: %w", address, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("metrics on %q: %s isn't a loopback address on this machine", address, host)
	}
	return l, nil
}

// ServeMetrics answers GET /metrics and GET /healthz on l until ctx ends, closes l, and returns when everything it started
// has ended.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	slots := make(chan struct{}, maxPages)
	log := s.conf.Log.With().Stringer("port", l.Addr()).Logger()
	listener.Serve(ctx, l, log, func(c net.Conn) {
		select {
		case slots <- struct{}{}:
			tasks.Go(func() {
				s.serveHTTP(ctx, c)
				<-slots
			})
		case <-ctx.Done():
			_ = c.Close()
		}
	})
}

// serveHTTP answers a connection to the metrics port.
func (s *Server) serveHTTP(ctx context.Context, c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(requestTimeout))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	head, err := readRequest(c)
	if err != nil {
		s.counters.count(opOther, resultDropped)
		return
	}
	op, r, page := s.get(head)
	if _, err := c.Write(page); err != nil {
		r = resultDropped
	}
	s.counters.count(op, r)
}

// get returns the response to the head of a request.
func (s *Server) get(head []byte) (op, result, []byte) {
	if !bytes.HasPrefix(head, httpGet) {
		return opOther, resultMalformed, response(http.StatusMethodNotAllowed, "only GET is answered here\n")
	}
	target, _, _ := strings.Cut(string(head[len(httpGet):]), " ")
	path, _, _ := strings.Cut(target, "?")
	switch path {
	case "/metrics":
		return opMetrics, resultOK, response(http.StatusOK, s.metrics())
	case "/healthz":
		_, status := s.conf.Engine.Snapshot()
		if status.State == agent.Fresh || status.State == agent.Stale {
			return opHealth, resultOK, response(http.StatusOK, string(status.State)+"\n")
		}
		return opHealth, resultUnavailable, response(http.StatusServiceUnavailable, string(status.State)+"\n")
	}
	return opOther, resultMalformed, response(http.StatusNotFound, "there is /metrics and /healthz\n")
}

// response returns an HTTP/1.0 response.
func response(status int, text string) []byte {
	return fmt.Appendf(nil, "HTTP/1.0 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(text), text)
}
