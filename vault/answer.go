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
)

// leaveUnread closes the connection after the answer. Otherwise the server would read the rest of the body, for as
// long as the client takes to send it, or close the connection while the client still writes, which
// would then not see the answer.
func leaveUnread(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	// A limit that is exceeded makes net/http, by its own writer, wait before it closes the connection.
	if o, ok := w.(*observedWriter); ok {
		w = o.ResponseWriter
	}
	over := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("over")), 0)
	_, _ = over.Read(make([]byte, 1))
}

func tooMany(message string, wait time.Duration) error {
	e := api.NewError(api.ErrRateLimited, message)
	e.RetryAfter = wait
	return e
}

// writeJSON answers with a.
func writeJSON(w http.ResponseWriter, a reply) {
	a.status = cmp.Or(a.status, http.StatusOK)
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	text := encode(a.body)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // an error means that the client is gone
}

func encode(body any) []byte {
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

// refuse answers with an error. One that isn't an *api.Error is internal: it is logged, and answered without
// detail.
func (v *Vault) refuse(w http.ResponseWriter, err error) {
	var e *api.Error
	unchanged := true // nothing was changed, as far as the vault knows
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		unchanged = false
		e = api.NewError(api.ErrUnavailable, "the request was cut short")
	default:
		v.log.Error().Err(err).Str("request_id", observed(w).id).Msg("request failed")
		e = api.NewError(api.ErrInternal, "something went wrong in the vault")
	}
	body := api.ErrorBody{Error: e.Message, Message: e.Message, Code: e.Kind.Code, RequestID: observed(w).id}
	switch e.Kind {
	case api.ErrRateLimited, api.ErrUnavailable:
		seconds := wholeSeconds(e.RetryAfter)
		body.RetryAfter, body.Retryable = float64(seconds), unchanged
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case api.ErrUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, reply{e.Kind.Status, body})
}
