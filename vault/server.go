package vault

import (
	"bytes"
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
)

// Every connection has a deadline at any moment. A reveal moves its own, by as long as it waits.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 60 * time.Second // a whole request: 8 MiB at 1.2 Mbit/s
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
)

// maxHeader is the longest header, in bytes: the server adds 4 KiB of its own to what it is given.
const maxHeader = 16<<10 - 4096

// Serve answers requests on l until ctx ends. Then it takes no more connections, ends waiting reveals
// with 503 so that their agents turn elsewhere, gives what is under way StopTimeout to finish, and
// returns nil. It closes l.
func (v *Vault) Serve(ctx context.Context, l net.Listener) error {
	v.noteAddress(l.Addr())
	l = newLimitListener(l, v.conf.maxConns())
	if v.conf.TLS != nil {
		c := v.conf.TLS.Clone()
		c.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, c)
	}
	srv := &http.Server{
		Handler:           v.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(logWriter{v.log}, "", 0),
		// HTTP/1.1 only: with one request on a connection at a time, the limit of connections
		// is one of requests too.
		Protocols: new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.RegisterOnShutdown(v.drain)
	var failed error // set before ended is closed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = srv.Serve(l)
	}()
	select {
	case <-ended:
		return failed
	case <-ctx.Done():
	}
	v.log.Info().Msg("stopping")
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.conf.stopTimeout())
	defer cancel()
	if err := srv.Shutdown(patience); err != nil {
		v.log.Warn().Stringer("stop_timeout", v.conf.stopTimeout()).Msg("requests were cut off: they took longer than the stop timeout")
		_ = srv.Close()
	}
	<-ended
	return nil
}

// noteAddress remembers a loopback address: browsers on this machine reach it there.
func (v *Vault) noteAddress(a net.Addr) {
	at, ok := a.(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return
	}
	url := "http://" + at.String()
	if v.conf.TLS != nil {
		url = "https://" + at.String()
	}
	v.listens.Store(&url)
}

// logWriter takes net/http's own complaints, such as failed TLS handshakes.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug().Str("detail", api.RedactKeys(string(bytes.TrimSpace(line)))).Msg("http server")
	return len(line), nil
}

// readiness remembers what the store last said, for a second: /readyz needs no key, and asking the
// store means a write.
type readiness struct {
	mu    sync.Mutex // guards the fields below
	asked time.Time
	err   error
}

func (v *Vault) isReady(ctx context.Context) error {
	if v.draining.Err() != nil {
		return errStopping
	}
	v.ready.mu.Lock()
	defer v.ready.mu.Unlock()
	if time.Since(v.ready.asked) >= time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		v.ready.err = v.store.Ready(ctx)
		v.ready.asked = time.Now()
	}
	return v.ready.err
}

var errStopping = api.NewError(api.ErrUnavailable, "the vault is stopping")

// healthz answers as long as the process does.
func (v *Vault) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, reply{body: map[string]string{"status": "ok"}})
}

// readyz tells whether the store takes writes now.
func (v *Vault) readyz(w http.ResponseWriter, r *http.Request) {
	err := v.isReady(r.Context())
	switch {
	case err == nil:
		writeJSON(w, reply{body: map[string]string{"status": "ready"}})
	case errors.Is(err, api.ErrUnavailable):
		v.refuse(w, err)
	default:
		v.refuse(w, api.NewError(api.ErrUnavailable, "the vault is not ready"))
	}
}
