package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// getWord begins a connection that is answered in HTTP: with metrics or the state, and never a value.
var getWord = []byte("GET ")

// maxPages is how many connections for metrics are served at a time on a port.
const maxPages = 16

// ListenMetrics listens on a host and port of the loopback interface, as in 127.0.0.1:9464.
// Errors: for any other host, since what is told there isn't for the network.
func ListenMetrics(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("metrics on %q: want a loopback address and a port, as in 127.0.0.1:9464", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("metrics on %q: %s isn't a loopback address, as in 127.0.0.1:9464", address, orAll(host))
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

func orAll(host string) string {
	if host == "" {
		return "every address"
	}
	return host
}

// ServeMetrics answers GET /metrics and GET /healthz on l until ctx ends, closes l, and returns when
// everything it started has ended.
func (s *Socket) ServeMetrics(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer func() { _ = l.Close() }()
	slots := make(chan struct{}, maxPages)
	defer func() {
		for range maxPages { // everyone has left
			slots <- struct{}{}
		}
	}()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-slots
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			s.conf.Log.Error().Err(err).Msg("the port for metrics takes no connections")
			if delay.Sleep(ctx, acceptPause) != nil {
				return nil
			}
			continue
		}
		go func() {
			defer func() { <-slots }()
			s.servePage(ctx, c)
		}()
	}
}

// servePage answers one connection to the port.
func (s *Socket) servePage(ctx context.Context, c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(requestTime))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	head, err := readRequest(c)
	if err != nil {
		s.metrics.count(countOther, resultDropped)
		return
	}
	if !bytes.HasPrefix(head, getWord) {
		s.metrics.count(countOther, resultMalformed)
		_, _ = c.Write(response(http.StatusMethodNotAllowed, "only GET is answered here\n"))
		return
	}
	op, done, text := s.get(head)
	if _, err := c.Write(text); err != nil {
		done = resultDropped
	}
	s.metrics.count(op, done)
}

// page answers one connection to the socket.
func (k *connection) page(head []byte) {
	op, done, text := k.get(head)
	k.write(op, text, done)
}

// get gives the response to a request.
func (s *Socket) get(head []byte) (asked, result, []byte) {
	target, _, _ := strings.Cut(strings.TrimPrefix(string(head), "GET "), " ")
	path, _, _ := strings.Cut(target, "?")
	switch path {
	case "/metrics":
		return countMetrics, resultOK, response(http.StatusOK, s.text())
	case "/healthz":
		_, status := s.conf.Agent.Snapshot()
		if status.State == Fresh || status.State == Stale {
			return countHealth, resultOK, response(http.StatusOK, string(status.State)+"\n")
		}
		return countHealth, resultUnavailable, response(http.StatusServiceUnavailable, string(status.State)+"\n")
	}
	return countOther, resultMalformed, response(http.StatusNotFound, "there is /metrics and /healthz\n")
}

// response is a whole HTTP/1.0 response.
func response(status int, text string) []byte {
	return fmt.Appendf(nil, "HTTP/1.0 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(text), text)
}
