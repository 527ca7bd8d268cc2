package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// basePath stands before every route but /healthz, /readyz and /metrics.
const basePath = "/api/v1"

// route is one line of the contract.
type route struct {
	method string
	path   string // under basePath, in the form http.ServeMux takes
	allow  access
	action string // what the audit calls an attempt with the wrong kind of key
	limit  int64  // the longest body, in bytes
	handle handler
}

// name is what metrics and logs call the route: it holds no id.
func (r route) name() string { return r.method + " " + r.path }

// handler answers one call that has been authenticated, is allowed and within its limits.
type handler func(*call) (reply, error)

// call is one request on its way through a handler.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	actor Actor
	limit int64
}

func (c *call) ctx() context.Context { return c.r.Context() }

// id is the one in the path.
func (c *call) id() string { return c.r.PathValue("id") }

// reply is what a handler answers: status 0 is 200; a nil body is none.
type reply struct {
	status int
	body   any
}

// The envelopes of the contract. An object has at most one key beside "data", and a list is never
// under "data": the SDKs unwrap no others.
type (
	data struct {
		Data any `json:"data"`
	}
	deleted struct {
		OK bool `json:"ok"`
	}
	// listed has one key, its name, and next_cursor where there is a further page.
	listed map[string]any
)

func listOf[T any](name string, items []T, next string) reply {
	if items == nil {
		items = []T{} // never null
	}
	l := listed{name: items}
	if next != "" {
		l["next_cursor"] = next
	}
	return reply{body: l}
}

// serveJSON makes a handler of a function that takes the decoded body. With noBody none is read.
func serveJSON[In any](fn func(*call, In) (reply, error)) handler {
	return func(c *call) (reply, error) {
		var in In
		if _, none := any(in).(noBody); !none {
			var err error
			if in, err = readBody[In](c.w, c.r, c.limit); err != nil {
				return reply{}, err
			}
		}
		return fn(c, in)
	}
}

// serve is everything between the router and a route's handler, in this order: what can be refused
// without knowing who asks, who asks, how often, and whether they may.
func (v *Vault) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r, limit: rt.limit}
		err := v.admit(c, rt)
		if err != nil && r.ContentLength != 0 {
			leaveUnread(w)
		}
		var answer reply
		if err == nil {
			answer, err = rt.handle(c)
		}
		if err != nil {
			v.refuse(w, err)
			return
		}
		writeJSON(w, answer)
	})
}

func (v *Vault) admit(c *call, rt route) (err error) {
	if c.r.ContentLength > rt.limit {
		return errTooLarge
	}
	if c.actor, err = v.authenticate(c.r, note(c.w).id); err != nil {
		return err
	}
	note(c.w).keyID = c.actor.KeyID
	if wait := v.perKey.take(c.actor.KeyID, time.Now()); wait > 0 {
		return tooMany("this key makes too many requests", wait)
	}
	return v.permit(c, rt)
}

// leaveUnread ends the connection after the answer. The server would otherwise go on reading the
// body to keep the connection, for as long as the caller likes to take; or close it on a caller that
// still writes, who then never sees the answer.
func leaveUnread(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	// Running into a limit is how net/http is told to linger before it closes.
	over := http.MaxBytesReader(serverWriter(w), io.NopCloser(strings.NewReader("over")), 0)
	_, _ = over.Read(make([]byte, 1))
}

// serverWriter is net/http's own writer under ours.
func serverWriter(w http.ResponseWriter) http.ResponseWriter {
	if n, ok := w.(*noted); ok {
		return n.ResponseWriter
	}
	return w
}

func tooMany(message string, wait time.Duration) error {
	e := api.NewError(api.ErrRateLimited, message)
	e.RetryAfter = wait
	return e
}

// writeJSON answers; a 304 has no body.
func writeJSON(w http.ResponseWriter, a reply) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	text := encode(a.body)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // a client that is gone is nobody's error
}

func encode(body any) []byte {
	if own, ok := body.(interface{ AppendJSON([]byte) []byte }); ok {
		return append(own.AppendJSON(nil), '\n')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		panic(err) // a type of ours that can't be encoded; observe answers 500
	}
	return buf.Bytes()
}

// refuse answers an error in the contract's form. What isn't an *api.Error is ours, not the
// caller's: it is logged, and answered without detail.
func (v *Vault) refuse(w http.ResponseWriter, err error) {
	var e *api.Error
	undone := true // nothing was changed, as far as we know
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		undone = false
		e = api.NewError(api.ErrUnavailable, "the request was cut short")
	default:
		v.log.Error().Err(err).Str("request_id", note(w).id).Msg("request failed")
		e = api.NewError(api.ErrInternal, "something went wrong in the vault")
	}
	body := api.ErrorBody{Error: e.Message, Message: e.Message, Code: e.Kind.Code, RequestID: note(w).id}
	switch e.Kind {
	case api.ErrRateLimited, api.ErrUnavailable:
		seconds := wholeSeconds(e.RetryAfter)
		body.RetryAfter, body.Retryable = float64(seconds), undone
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case api.ErrUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, reply{e.Kind.Status, body})
}

// noted is a response writer with what is said about the request afterwards.
type noted struct {
	http.ResponseWriter
	id     string // the request's
	keyID  string // "" until it is known
	status int    // 0 until it is written
}

// note finds what observe put around w.
func note(w http.ResponseWriter) *noted { return w.(*noted) }

// WriteHeader implements http.ResponseWriter.
func (n *noted) WriteHeader(status int) {
	if n.status == 0 {
		n.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// observe gives a request its id, its measurements and its line in the log, and turns a panic into
// a 500. name is the route's: paths may hold what a caller put there by mistake.
func (v *Vault) observe(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		n := &noted{ResponseWriter: w, id: requestID(r)}
		h := w.Header()
		h.Set("X-Request-ID", n.id)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		v.metrics.begin(name)
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				// Not p itself: it may repeat what was being worked on.
				v.log.Error().Str("request_id", n.id).Str("route", name).Bytes("stack", debug.Stack()).Msg("handler panicked")
				if n.status == 0 {
					v.refuse(n, api.NewError(api.ErrInternal, "something went wrong in the vault"))
				}
			}
			took := time.Since(start)
			v.metrics.end(name, n.status, took)
			v.log.Debug().Str("request_id", n.id).Str("key_id", n.keyID).Str("route", name).
				Int("status", n.status).Stringer("took", took.Round(time.Microsecond)).Msg("request")
		}()
		next.ServeHTTP(n, r)
	})
}

// requestID honours the caller's, when it is one we can repeat in a header, a log and the audit.
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
