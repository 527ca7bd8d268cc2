package scrub

import (
	"cmp"
	"errors"
	"io"
	"sync"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// bufferSize is how many bytes are read at once. The buffer grows if more of them may be the start of a value.
const bufferSize = 32 << 10

// buffers has the cleared buffers of closed readers, since most responses are much smaller than a buffer.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// errClosed is the error of reading after Close.
var errClosed = errors.New("read of a closed response")

// reader removes values from a stream.
type reader struct {
	source      io.Reader
	decoders    []*decoder
	closer      io.Closer
	blanker     *mask.Blanker
	part        bool   // the stream may end within a value
	interactive bool   // the peer may wait for a message before it sends the next one
	decoded     bool   // the stream isn't encoded any more, so its length has changed
	ended       func() // called at the end of the stream

	// buf[next:settled] is ready to be read, and buf[settled:end] held back.
	buf                []byte
	next, settled, end int
	maxEnd             int // the maximum of end: Close clears the buffer up to it
	err                error
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.next == r.settled {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	n := copy(p, r.buf[r.next:r.settled])
	r.next += n
	return n, nil
}

// WriteTo implements io.WriterTo, so that io.Copy needs no buffer of its own.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		n, err := w.Write(r.buf[r.next:r.settled])
		r.next += n
		total += int64(n)
		switch {
		case err != nil:
			return total, err
		case r.err == io.EOF: //nolint:errorlint // as io.Copy does
			return total, nil
		case r.err != nil:
			return total, r.err
		}
		r.fill()
	}
}

// fill reads once and removes values.
func (r *reader) fill() {
	if r.buf == nil {
		r.buf = buffers.Get().(*[bufferSize]byte)[:]
	}
	r.end = copy(r.buf, r.buf[r.settled:r.end])
	r.next, r.settled = 0, 0
	if r.end > len(r.buf)/2 {
		grown := make([]byte, 2*len(r.buf))
		copy(grown, r.buf[:r.end])
		clear(r.buf)
		r.buf = grown
	}
	n, err := r.source.Read(r.buf[r.end:])
	r.end += n
	r.maxEnd = max(r.maxEnd, r.end)
	r.settled = r.blanker.Blank(r.buf[:r.end])
	if r.interactive && r.settled < r.end && r.blanker.Release(r.buf[r.settled:r.end]) {
		r.settled = r.end
	}
	if err == nil {
		return
	}
	// After an error, the rest of a value may be missing.
	r.blanker.Flush(r.buf[r.settled:r.end], r.part || !errors.Is(err, io.EOF))
	r.settled, r.err = r.end, err
	if r.ended != nil {
		r.ended()
	}
}

// Close closes the stream and what it was made from.
func (r *reader) Close() error {
	for _, d := range r.decoders {
		d.Close()
	}
	// An upgraded connection may be closed while another goroutine reads.
	if len(r.buf) == bufferSize && !r.interactive {
		clear(r.buf[:r.maxEnd])
		buffers.Put((*[bufferSize]byte)(r.buf))
		r.buf, r.next, r.settled, r.end = nil, 0, 0, 0
		r.err = cmp.Or(r.err, errClosed)
	}
	return r.closer.Close()
}
