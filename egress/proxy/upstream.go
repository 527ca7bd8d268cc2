package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/dial"
)

// Limits of connections to servers.
const (
	upstreamHandshake = 15 * time.Second
	upstreamIdle      = 90 * time.Second // shorter than that of most servers, so that few requests meet a closed connection
	upstreamPing      = 30 * time.Second
	continueTime      = 5 * time.Second // until a body is sent to a server that doesn't answer Expect: 100-continue
	keptPerHost       = 64
	keptInAll         = 512
	keptSessions      = 256 // for resumption
)

// upstreams send requests to servers. Connections are shared by the clients of the resource.
type upstreams struct {
	any   *http.Transport // HTTP/2 and HTTP/1.1
	http1 *http.Transport // for upgrades, which HTTP/2 does not have
}

func newUpstreams(s *Server) *upstreams {
	both := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			n, err := strconv.Atoi(port)
			if err != nil {
				return nil, err
			}
			return s.dial(ctx, s.Set(), destination{host, n})
		},
		TLSClientConfig:        &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(keptSessions)},
		TLSHandshakeTimeout:    upstreamHandshake,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what the client asks for stays
		MaxIdleConns:           keptInAll,
		MaxIdleConnsPerHost:    keptPerHost,
		IdleConnTimeout:        upstreamIdle,
		ExpectContinueTimeout:  continueTime,
		MaxResponseHeaderBytes: s.Limits.response(),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: upstreamPing},
	}
	http1 := both.Clone()
	http1.Protocols = new(http.Protocols)
	http1.Protocols.SetHTTP1(true)
	http1.ForceAttemptHTTP2 = false
	return &upstreams{both, http1}
}

func (u upstreams) close() {
	u.any.CloseIdleConnections()
	u.http1.CloseIdleConnections()
}

// dial connects to a server.
func (s *Server) dial(ctx context.Context, set *Set, to destination) (net.Conn, error) {
	if s.servers.Add(1) > int64(s.Limits.servers()) {
		s.servers.Add(-1)
		return nil, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonBusy, Message: "the resource has too many connections to servers"}
	}
	c, err := s.Dialer.Dial(ctx, to.host, to.port, set.names(to))
	if err != nil {
		s.servers.Add(-1)
		return nil, err
	}
	return &serverConn{Conn: c, of: s}, nil
}

// serverConn is a connection to a server, which is counted until it is closed.
type serverConn struct {
	net.Conn
	of   *Server
	once sync.Once
}

// Close implements net.Conn.
func (c *serverConn) Close() error {
	c.once.Do(func() { c.of.servers.Add(-1) })
	return c.Conn.Close()
}

// failure explains an error of a request to a server. It has no text of the server or the request.
func failure(err error, to destination) *Refusal {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal
	}
	if errors.Is(err, dial.ErrNotPublic) {
		return &Refusal{Reason: reasonAddress, Message: "the address of " + to.host + " is not a public one, and no rule names the host"}
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonResolve, Message: "the name " + to.host + " could not be resolved"}
	}
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonVerify, Message: "the certificate of " + to.String() + " is not valid: " + unverified.Err.Error()}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		status := http.StatusBadGateway
		if op.Timeout() {
			status = http.StatusGatewayTimeout
		}
		return &Refusal{Status: status, Reason: reasonConnect, Message: "no connection to " + to.String()}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return &Refusal{Status: http.StatusGatewayTimeout, Reason: reasonConnect, Message: to.String() + " did not answer in time"}
	}
	return &Refusal{Status: http.StatusBadGateway, Reason: reasonUpstream, Message: to.String() + " closed the connection or its answer is not valid HTTP"}
}
