package vault

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// What is read of a body after the answer, at most.
const (
	maxUnread  = 16 << 20
	unreadTime = 5 * time.Second
)

// leaveUnread makes drain read the rest of the body after the answer, and the server close the connection then.
func leaveUnread(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	// A limit that is exceeded makes net/http, by its own writer, wait before it closes the connection.
	if o, ok := w.(*observedWriter); ok {
		o.unread = true
		w = o.ResponseWriter
	}
	over := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("over")), 0)
	_, _ = over.Read(make([]byte, 1))
}

// drain sends the answer and discards the rest of the body, for some time: many clients read no answer before they have
// sent all of the body. A client that has asked whether to send it (Expect: 100-continue) doesn't send it.
func (o *observedWriter) drain(r *http.Request) {
	if !o.unread || r.Header.Get("Expect") != "" {
		return
	}
	conn := http.NewResponseController(o.ResponseWriter)
	_ = conn.Flush()
	_ = conn.SetReadDeadline(time.Now().Add(unreadTime))
	_, _ = io.CopyN(io.Discard, r.Body, maxUnread)
}

// writeJSON answers with a, and returns the length of the body.
func writeJSON(w http.ResponseWriter, a reply) (length int) {
	a.status = cmp.Or(a.status, http.StatusOK)
	if a.body == nil {
		w.WriteHeader(a.status)
		return 0
	}
	text := encode(a.body)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // an error means that the client is gone
	return len(text)
}

// encoded is a body in JSON.
type encoded []byte

func encode(body any) encoded {
	if text, ok := body.(encoded); ok {
		return text
	}
	if own, ok := body.(interface{ AppendJSON([]byte) []byte }); ok {
		return append(own.AppendJSON(nil), '\n')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		panic(err) // a type that can't be encoded; observe answers 500
	}
	return buf.Bytes()
}

// encodeLarge encodes a part of an answer that takes about size bytes in JSON. Large parts take turns with the tenant's other
// large operations, so that they don't take all processors. Errors: ctx's own.
func encodeLarge(ctx context.Context, s *store.Store, a store.Actor, part any, size int) (encoded, error) {
	end, err := s.Turn(ctx, a, size)
	if err != nil {
		return nil, err
	}
	defer end()
	return encode(part), nil
}

// refuse answers with an error. One that isn't an *api.Error is internal: it is logged, and answered without
// detail.
func (v *Vault) refuse(w http.ResponseWriter, err error) {
	var e *api.Error
	unchanged := true // nothing was changed, as far as the vault knows
	switch {
	case errors.As(err, &e):
		unchanged = e.Retryable == nil || *e.Retryable
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		unchanged = false
		e = api.NewError(api.ErrUnavailable, "the request was cut short")
	default:
		v.log.Error().Err(err).Str("request_id", observed(w).id).Msg("request failed")
		e = api.NewError(api.ErrInternal, "something went wrong in the vault")
	}
	body := api.ErrorBody{Error: e.Message, Message: e.Message, Code: e.Kind.Code, RequestID: observed(w).id, Limit: e.Limit}
	if e.Limit != "" {
		v.metrics.countRefusal(e.Limit)
	}
	switch e.Kind {
	case api.ErrRateLimited, api.ErrUnavailable:
		seconds := limit.WholeSeconds(e.RetryAfter)
		body.RetryAfter, body.Retryable = float64(seconds), unchanged
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case api.ErrUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, reply{e.Kind.Status, body})
}
