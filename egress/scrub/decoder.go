package scrub

import (
	"bufio"
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxWindow limits the memory that a zstd stream may require, in bytes. Source: RFC 9659, section 3. The windows of the
// other encodings have at most 32 KiB, and of br 16 MiB.
const maxWindow = 8 << 20

// decoders decode content encodings, by name.
var decoders = map[string]func(r *bufio.Reader) (io.ReadCloser, error){
	"gzip":    func(r *bufio.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
	"x-gzip":  func(r *bufio.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
	"deflate": inflate,
	"br":      func(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(brotli.NewReader(r)), nil },
	"zstd": func(r *bufio.Reader) (io.ReadCloser, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	},
}

// inflate decodes deflate: in the zlib format, or without it, as some servers send it.
func inflate(r *bufio.Reader) (io.ReadCloser, error) {
	head, err := r.Peek(2)
	if err == nil && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

// maxRest is how many bytes may follow the end of a decoded stream.
const maxRest = 4 << 10

var errEncoded = errors.New("the encoding of the response is invalid")

// decoder decodes a stream. It starts with the first byte, since responses without a body may have an encoding too.
type decoder struct {
	encoding string
	source   io.Reader
	decoded  io.ReadCloser
	err      error
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.decoded == nil && d.err == nil {
		r := bufio.NewReader(d.source)
		if _, err := r.Peek(1); err != nil {
			d.err = err
		} else if decoded, err := decoders[d.encoding](r); err != nil {
			d.err = errEncoded
		} else {
			d.decoded = decoded
		}
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.decoded.Read(p)
	if errors.Is(err, io.EOF) {
		// net/http sets the trailers at the end of the source, which not all decoders reach.
		if _, err := io.CopyN(io.Discard, d.source, maxRest); !errors.Is(err, io.EOF) {
			return n, errEncoded
		}
	}
	return n, err
}

// Close releases memory. It doesn't close the source.
func (d *decoder) Close() {
	if d.decoded != nil {
		_ = d.decoded.Close() // nothing is written
	}
}
