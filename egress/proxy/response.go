package proxy

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// flushInterval is how long bytes of a response with a known length may wait for more. Others are sent on at once.
const flushInterval = 20 * time.Millisecond

// smallBody is the length, in bytes, up to which a response with a known length is sent when it is complete.
const smallBody = 2 << 10

// response changes the response of the server, before its first byte is sent on.
func (x *exchange) response(res *http.Response) error {
	if res.StatusCode < http.StatusContinue { // http.Transport accepts it, and http.Server panics
		return errStatus
	}
	// The client would reach alternative services, such as HTTP/3, without the proxy.
	if x.scheme == "https" {
		res.Header.Del("Alt-Svc")
	}
	if x.scrub != nil {
		if err := x.scrub.Response(res); err != nil {
			return &Refusal{
				Status: http.StatusBadGateway, Reason: reasonScrub,
				Message: "the response of " + x.to.String() + " can't be searched for the value, so it isn't passed on",
			}
		}
	}
	if len(res.Trailer) > 0 && res.Request.ProtoMajor == 1 { // the client's version: HTTP/1 has trailers only after chunks
		res.Header.Del("Content-Length")
		res.ContentLength = -1
	}
	if res.ContentLength >= 0 && res.ContentLength <= smallBody {
		x.proxy.FlushInterval = 0 // it is complete soon, and the timer would cost more than it saves
	}
	x.event.StatusCode = res.StatusCode
	x.record()
	res.Status = "" // net/http writes that of a 101 response as it is
	if res.StatusCode == http.StatusSwitchingProtocols && x.end != nil {
		x.remove = x.s.longLived.add(x.s, longLived{x.forbidden, x.end})
	}
	return nil
}

var errStatus = errors.New("the status code has fewer than three digits")

// responseWriter is what a response is written to.
type responseWriter struct {
	http.ResponseWriter
	x     *exchange
	begun bool // the header of the final response is written
}

// WriteHeader implements http.ResponseWriter. It removes values from informational responses.
func (w *responseWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.begun = true
		if w.x.body.unread() {
			w.Header().Set("Connection", "close")
		}
		if _, ok := w.Header()["Content-Type"]; !ok {
			w.Header()["Content-Type"] = nil // otherwise net/http guesses one from the body
		}
	} else if w.x.scrub != nil {
		w.x.scrub.Header(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// breakOff sends what is written of a response that ends early. A client that receives nothing may take the connection for one that
// the proxy had closed before the request, and send the request again.
func (w *responseWriter) breakOff() {
	if w.begun {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
}

// Unwrap is used by http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// failed answers a request to which the server has no answer.
func (x *exchange) failed(w http.ResponseWriter, r *http.Request, err error) {
	// A body that came too slowly ends the context too.
	if r.Context().Err() != nil && !x.body.slow() {
		x.event.Reason = canceled
		x.record()
		panic(http.ErrAbortHandler) // the client has gone
	}
	x.refuse(w, x.failure(err))
}

func (x *exchange) failure(err error) *Refusal {
	switch {
	case x.body.slow():
		return &Refusal{Status: http.StatusRequestTimeout, Reason: reasonSlow, Message: "the body of the request did not arrive in time"}
	case x.body != nil && x.body.failed.Load():
		return &Refusal{Status: http.StatusBadRequest, Reason: reasonRequest, Message: "the body of the request is malformed or broke off"}
	}
	return failure(err, x.to)
}

// refuse answers a request that isn't sent, or whose response isn't passed on.
func (x *exchange) refuse(w http.ResponseWriter, why *Refusal) {
	if !x.written {
		x.written = true
		x.event.StatusCode = why.status()
		x.s.record(x.event, why)
	}
	why.write(w)
}

// record records the exchange once.
func (x *exchange) record() {
	if !x.written {
		x.written = true
		x.s.Recorder.Record(x.event)
	}
}

// buffers implements httputil.BufferPool with buffers of one size.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return kept[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
