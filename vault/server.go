package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/detach"
	"github.com/Miosa-osa/miosa-env/vault/disk"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// A connection always has a deadline. A reveal extends its own by the time it may wait.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 60 * time.Second // a whole request: 8 MiB at 1.2 Mbit/s
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
)

// maxHeader makes the longest header 16 KiB: net/http adds 4 KiB to it.
const maxHeader = 16<<10 - 4096

// Serve answers requests on l until ctx ends. Then it closes l, ends waiting reveals with 503, so that their agents
// use another vault, waits up to StopTimeout for running requests, and returns nil.
func (v *Vault) Serve(ctx context.Context, l net.Listener) error {
	v.setAddress(l.Addr())
	l = v.listen(wipedListener{l, v.conf.TLS != nil})
	if v.conf.TLS != nil {
		c := v.conf.TLS.Clone()
		c.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, c)
	}
	waiting := detach.NewListener(l.Addr())
	srv := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return waiting.Context(context.Background()) },
		Handler:           v.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       limit.WithConn,
		ErrorLog:          log.New(logWriter{v.log}, "", 0),
		// HTTP/1.1 only: a connection has one request at a time, so the limit of connections also limits requests.
		Protocols: new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(l) }()
	go func() { ended <- srv.Serve(waiting) }()
	select {
	case err := <-ended:
		v.drain() // ends waits
		return errors.Join(err, srv.Close(), waiting.Close())
	case <-ctx.Done():
	}
	v.log.Info().Msg("stopping")
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.conf.stopTimeout())
	defer cancel()
	v.drain()
	if err := cmp.Or(srv.Shutdown(stopCtx), waiting.Shutdown(stopCtx)); err != nil {
		v.log.Warn().Stringer("stop_timeout", v.conf.stopTimeout()).Msg("running requests aborted after the stop timeout")
		_ = srv.Close()
	}
	for range cap(ended) {
		<-ended //nolint:errcheck // http.ErrServerClosed
	}
	return nil
}

// ServeMetrics serves /metrics on l, and nothing else, until ctx ends. Then it closes l and returns nil.
func (v *Vault) ServeMetrics(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", v.metrics.handler())
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: log.New(logWriter{v.log}, "", 0),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// setAddress records a loopback address, at which browsers on this machine can reach the vault.
func (v *Vault) setAddress(a net.Addr) {
	at, ok := a.(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return
	}
	url := "http://" + at.String()
	if v.conf.TLS != nil {
		url = "https://" + at.String()
	}
	v.localURL.Store(&url)
}

// logWriter logs the errors of net/http, such as failed TLS handshakes.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug().Str("detail", api.RedactKeys(string(bytes.TrimSpace(line)))).Msg("http server")
	return len(line), nil
}

// readiness caches the store's state for a second: /readyz needs no key, and the check may write.
type readiness struct {
	mu      sync.Mutex // guards the fields below
	checked time.Time
	err     error
}

func (v *Vault) isReady(ctx context.Context) error {
	if v.draining.Err() != nil {
		return errStopping
	}
	v.ready.mu.Lock()
	defer v.ready.mu.Unlock()
	if time.Since(v.ready.checked) >= time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		v.ready.err = v.store.Ready(ctx)
		v.ready.checked = time.Now()
	}
	return v.ready.err
}

var errStopping = api.NewError(api.ErrUnavailable, "the vault is stopping")

// healthz answers 200.
func (v *Vault) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, reply{body: map[string]string{"status": "ok"}})
}

// readyz answers 200 if the store accepts writes, else 503.
func (v *Vault) readyz(w http.ResponseWriter, r *http.Request) {
	err := v.isReady(r.Context())
	switch {
	case err == nil:
		body := map[string]string{"status": "ready"}
		if space, err := disk.Of(v.conf.Store.DataDir); err == nil && space.Low() {
			body["warning"] = "the vault's disk is nearly full"
		}
		writeJSON(w, reply{body: body})
	case errors.Is(err, api.ErrUnavailable):
		v.refuse(w, err)
	default:
		v.refuse(w, api.NewError(api.ErrUnavailable, "the vault is not ready"))
	}
}
