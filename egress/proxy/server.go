// Package proxy is the traffic path of a broker: an HTTP proxy (absolute URLs and CONNECT) and a transparent proxy. It
// decrypts only connections to hosts at which a rule allows values, puts values in the places of placeholders there, and
// removes them from responses. Other connections pass through untouched, or are denied.
package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/egress/dial"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// grace is how long a server that stops waits for requests.
const grace = 5 * time.Second

// Config are the parts of a Server. All but Roots and Dialer are required.
type Config struct {
	Resource  api.Resource // whose traffic arrives at the listeners
	Authority *ca.Authority
	Set       func() *Set // the current one; called for each connection and each request
	Recorder  Recorder
	Roots     *x509.CertPool // for upstream certificates; nil: the system's
	Dialer    dial.Dialer
	Limits    Limits
	Log       zerolog.Logger
}

// Listener is where traffic of the resource arrives.
type Listener struct {
	net.Listener
	Transparent bool // connections are redirected by the kernel; otherwise, clients use an HTTP proxy
}

// Server is the proxy of one resource.
type Server struct {
	Config
	clients       connections
	http          *http.Server
	tls           *tls.Config
	upstreams     atomic.Pointer[upstreams]
	accepted      *Queue         // connections whose destination is known, for http
	running       sync.WaitGroup // what http doesn't wait for
	buffers       buffers
	servers       atomic.Int64 // connections to them, and attempts
	requests      atomic.Int64 // at this time
	longLived     longLivedConns
	refusalLog    *logLimiter
	connectionLog *logLimiter
}

// New returns a server.
func New(c Config) *Server {
	s := &Server{Config: c, refusalLog: newLogLimiter(), connectionLog: newLogLimiter(), longLived: longLivedConns{open: map[*longLived]struct{}{}}}
	s.clients = connections{limit: c.Limits.connections(), open: map[*conn]struct{}{}}
	s.accepted = NewQueue()
	s.tls = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1", "http/1.0"}, // whatever the upstream speaks
		GetConfigForClient: s.decide,
		GetCertificate:     s.certificate,
	}
	s.http = &http.Server{
		Handler:                      http.HandlerFunc(s.serve),
		ReadHeaderTimeout:            c.Limits.handshake(),
		IdleTimeout:                  c.Limits.idle(),
		MaxHeaderBytes:               c.Limits.header(),
		DisableGeneralOptionsHandler: true, // OPTIONS * is for the upstream
		ErrorLog:                     quiet,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: c.Limits.streams(), SendPingTimeout: time.Minute},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secure, ok := c.(*tls.Conn); ok {
				c = secure.NetConn()
			}
			if t, ok := c.(*tunnel); ok {
				ctx = context.WithValue(ctx, tunnelKey{}, t)
			}
			return ctx
		},
	}
	s.upstreams.Store(newUpstreams(s))
	return s
}

// quiet drops what net/http logs about clients and upstreams: it has texts that they choose.
var quiet = log.New(io.Discard, "", 0)

// Connections is the number of open connections of clients.
func (s *Server) Connections() int { return s.clients.count() }

// Run serves until ctx ends or a listener fails. It closes the listeners and returns when all that it started has ended.
func (s *Server) Run(ctx context.Context, listeners ...Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s.http.BaseContext = func(net.Listener) context.Context { return requests }
	var all sync.WaitGroup
	serve := func(f func() error) {
		all.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	serve(func() error { return s.http.Serve(s.accepted) })
	busy := &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonBusy, Message: "the resource has too many connections to its broker"}
	full := func() {
		if suppressed, ok := s.connectionLog.allow(); ok {
			s.Log.Warn().Int("connections", s.Limits.connections()).Int64("untold", suppressed).Msg("connection refused: too many")
		}
	}
	for _, l := range listeners {
		counted := limited{l.Listener, &s.clients, nil, full}
		if l.Transparent {
			serve(func() error { return s.serveTransparent(ctx, counted) })
			continue
		}
		counted.refuse = busy.raw()
		serve(func() error { return s.http.Serve(counted) })
	}
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close()
	}
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	_ = s.http.Shutdown(ending)
	end()
	s.clients.close()
	_ = s.http.Close()
	s.upstreams.Load().close()
	all.Wait()
	s.running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serveTransparent accepts connections that the kernel redirects.
func (s *Server) serveTransparent(ctx context.Context, l net.Listener) error {
	pause := delay.NewBackoff(5*time.Millisecond, time.Second)
	for {
		accepted, err := l.Accept()
		if err != nil {
			if delay.Sleep(ctx, pause.Next()) != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			s.Log.Warn().Err(err).Msg("connection not accepted")
			continue
		}
		pause.Reset()
		s.running.Go(func() { s.redirected(ctx, accepted) })
	}
}
