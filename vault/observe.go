package vault

import (
	"crypto/rand"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// observedWriter is a response writer with what is logged and measured of the request.
type observedWriter struct {
	http.ResponseWriter
	id     string // of the request
	keyID  string // "" until the request is authenticated
	status int    // 0 until it is written
	unread bool   // the body: see drain

	route    string
	start    time.Time
	served   func() // notes that the connection serves no request any more
	detached bool   // a waiting answers, and calls served and end
	upgraded bool   // to a WebSocket, or it was refused
}

// observed returns the writer that observe made.
func observed(w http.ResponseWriter) *observedWriter { return w.(*observedWriter) }

// WriteHeader implements http.ResponseWriter.
func (o *observedWriter) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (o *observedWriter) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// observe gives a request its id, measures and logs it, and turns a panic into status 500. route is the route's name: a
// path may contain a secret by mistake.
func (v *Vault) observe(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := &observedWriter{ResponseWriter: w, id: requestID(r), route: route, start: time.Now()}
		v.setHeaders(o)
		if v.conf.OnRequest != nil {
			v.conf.OnRequest(route)
		}
		o.served = limit.ConnOf(r.Context()).Serve()
		defer func() {
			if !o.detached {
				defer o.served()
			}
			if p := recover(); p != nil {
				v.panicked(o, p)
			}
			if !o.detached {
				v.end(o)
			}
		}()
		next.ServeHTTP(o, r)
		o.drain(r)
	})
}

// setHeaders sets the headers of all answers.
func (v *Vault) setHeaders(o *observedWriter) {
	h := o.Header()
	h.Set("X-Request-ID", o.id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if v.conf.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000") // a year
	}
}

// panicked answers a request whose handler panicked with p.
func (v *Vault) panicked(o *observedWriter, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	// Not p itself: it may contain what the handler worked on.
	v.log.Error().Str("request_id", o.id).Str("route", o.route).Bytes("stack", debug.Stack()).Msg("handler panicked")
	if o.status == 0 && !o.detached {
		v.refuse(o, api.NewError(api.ErrInternal, "something went wrong in the vault"))
	}
}

// end measures and logs a request that was answered.
func (v *Vault) end(o *observedWriter) {
	took := time.Since(o.start)
	v.metrics.requests.WithLabelValues(o.route, strconv.Itoa(o.status)).Inc()
	v.metrics.latency.WithLabelValues(o.route).Observe(took.Seconds())
	v.log.Debug().Str("request_id", o.id).Str("key_id", o.keyID).Str("route", o.route).
		Int("status", o.status).Stringer("took", took.Round(time.Microsecond)).Msg("request")
}

// requestID returns the client's request id if it can be used in a header, a log and the audit, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-ID")
	if id == "" || len(id) > 128 || api.RedactKeys(id) != id ||
		strings.ContainsFunc(id, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._:-", c))
		}) {
		return "req_" + strings.ToLower(rand.Text())
	}
	return id
}
