package scrub

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
)

// messageEncodings are the headers that name the encoding of each message in a body, and the prefixes of the media types that have them.
// Sources: the protocols of gRPC and of Connect.
var messageEncodings = []struct{ header, accepted, media string }{
	{"Grpc-Encoding", "Grpc-Accept-Encoding", "application/grpc"},
	{"Connect-Content-Encoding", "Connect-Accept-Encoding", "application/connect+"},
}

// messageEncoding returns the encoding of a body's messages, "" if they have none, and removes it from the headers.
// Errors: ErrEncoding.
func messageEncoding(h http.Header) (string, error) {
	media := strings.ToLower(h.Get("Content-Type"))
	for _, m := range messageEncodings {
		name := strings.ToLower(h.Get(m.header))
		if !strings.HasPrefix(media, m.media) || name == "" || name == identity {
			continue
		}
		if decoders[name] == nil || strings.HasPrefix(media, "application/grpc-web-text") { // which is in Base64
			return "", ErrEncoding
		}
		h.Del(m.header)
		return name, nil
	}
	return "", nil
}

// maxMessage limits the decoded length of a message, in bytes. Most programs accept up to 4 MiB.
const maxMessage = 16 << 20

// Before each message are a byte of flags and the length, big-endian.
const (
	envelopeHead = 5
	compressed   = 1 // flag
)

// envelopes decodes the messages of a body. It passes on those that aren't encoded as they arrive.
type envelopes struct {
	encoding string
	source   *bufio.Reader
	ready    bytes.Buffer
	left     int64 // bytes of a message that isn't encoded
}

func (e *envelopes) Read(p []byte) (int, error) {
	if e.ready.Len() == 0 && e.left == 0 {
		if err := e.next(); err != nil {
			return 0, err
		}
	}
	if e.ready.Len() > 0 {
		return e.ready.Read(p)
	}
	n, err := e.source.Read(p[:min(int64(len(p)), e.left)])
	if e.left -= int64(n); err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the beginning of the next message, or all of it if it is encoded. Errors: io.EOF at the end; those of the source; errEncoded.
func (e *envelopes) next() error {
	var head [envelopeHead]byte
	if _, err := io.ReadFull(e.source, head[:]); err != nil {
		return err
	}
	length := int64(binary.BigEndian.Uint32(head[1:]))
	if head[0]&compressed == 0 {
		e.left = length
		_, err := e.ready.Write(head[:])
		return err
	}
	message := &io.LimitedReader{R: e.source, N: length}
	d := &decoder{encoding: e.encoding, source: bufio.NewReader(message)}
	defer d.Close()
	var decoded bytes.Buffer
	_, err := io.CopyN(&decoded, d, maxMessage+1)
	switch {
	case err == nil:
		return errEncoded // too long
	case err != io.EOF: //nolint:errorlint // as io.Reader documents
		return err
	case message.N > 0:
		return io.ErrUnexpectedEOF
	}
	head[0] &^= compressed
	binary.BigEndian.PutUint32(head[1:], uint32(decoded.Len()))
	e.ready.Write(head[:])
	e.ready.Write(decoded.Bytes())
	return nil
}
