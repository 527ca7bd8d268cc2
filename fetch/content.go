package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// content is a request's body and its length in bytes.
type content struct {
	io.Reader
	length int64
}

// asJSON is v as a body.
func asJSON(v any) (content, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return content{}, errors.New("the request can't be encoded as JSON") // the cause might quote a value
	}
	return content{bytes.NewReader(text), int64(len(text))}, nil
}

// late is a body that is still being made when the request starts, in the time it takes to connect.
type late struct {
	made <-chan struct{} // closed when the fields below are final
	text []byte
	err  error
	read int // of text, so far
}

// again is the same body from its start.
func (l *late) again() (io.ReadCloser, error) {
	<-l.made
	if l.err != nil {
		return nil, l.err
	}
	return io.NopCloser(bytes.NewReader(l.text)), nil
}

// Read waits until the body is made.
func (l *late) Read(b []byte) (int, error) {
	<-l.made
	if l.err != nil {
		return 0, l.err
	}
	if l.read == len(l.text) {
		return 0, io.EOF
	}
	n := copy(b, l.text[l.read:])
	l.read += n
	return n, nil
}
