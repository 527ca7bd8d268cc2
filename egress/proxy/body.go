package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The rest of a body that may arrive after the response to its request, so that the client reads the response before the request
// is reset.
const (
	lingering = time.Second
	leftover  = 1 << 20 // bytes
)

// requestBody is the body of a request. It limits how long the client may take for the next bytes.
type requestBody struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration // 0: none
	http1   bool
	length  int64      // -1: unknown
	mu      sync.Mutex // held by Read: the transport may still read when the handler ends
	ended   atomic.Bool
	failed  atomic.Bool
	until   atomic.Int64 // when the time of the current Read ends, in Unix nanoseconds; 0: never
}

func newRequestBody(w http.ResponseWriter, r *http.Request, limit time.Duration) *requestBody {
	b := &requestBody{ReadCloser: r.Body, control: http.NewResponseController(w), limit: limit, http1: r.ProtoMajor == 1, length: r.ContentLength}
	if b.http1 {
		_ = b.control.EnableFullDuplex() // a response may begin before the end of the request
	} else if r.ContentLength < 0 {
		b.limit = 0 // a stream in both directions may be silent for long
	}
	return b
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit > 0 {
		deadline := time.Now().Add(b.limit)
		b.until.Store(deadline.UnixNano())
		_ = b.control.SetReadDeadline(deadline)
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
		b.until.Store(0)
	case !errors.Is(err, io.EOF):
		b.failed.Store(true)
	default:
		b.until.Store(0)
		b.ended.Store(true)
		if b.limit > 0 {
			_ = b.control.SetReadDeadline(time.Time{}) // net/http reads on to notice that the client has gone
		}
	}
	return n, err
}

// slow reports whether the client took too long. net/http ends the request's context before Read returns.
func (b *requestBody) slow() bool {
	if b == nil {
		return false
	}
	until := b.until.Load()
	return until != 0 && time.Now().UnixNano() >= until
}

// unread reports whether the rest of the body is still on an HTTP/1 connection. With full duplex, net/http would take it
// for the next request if it can't be read.
func (b *requestBody) unread() bool { return b != nil && b.http1 && !b.ended.Load() }

// end is called after the response.
func (b *requestBody) end() {
	switch {
	case b.ended.Load() || b.failed.Load():
	case b.http1:
		_ = b.control.SetReadDeadline(time.Now().Add(lingering)) // net/http reads on
	case b.length > 0:
		// curl 7.88 takes the reset of a request whose body was not read for a broken response.
		_ = b.control.SetReadDeadline(time.Now().Add(lingering))
		b.mu.Lock()
		b.limit = 0 // the deadline is for all of it
		b.mu.Unlock()
		_, _ = io.CopyN(io.Discard, b, leftover)
	}
}
