// Package scrub removes values from the responses to requests that had them. It is a second line of defense: servers
// that return what they were sent are the reason that values are put only in few places of a request.
//
// Values and their encoded forms are overwritten with asterisks, so that lengths and ranges stay right. A server that
// changes a value in a way that package forms doesn't list, or that returns it in parts, is not noticed.
package scrub

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// Scrubber removes values from responses. It is immutable and may be used concurrently.
type Scrubber struct {
	masker *mask.Masker
	names  *mask.Finder // of the values that can be the name of a header, in lower case; nil: there are none
}

// New returns a scrubber of values. Values of fewer than mask.MinLength bytes are too common to be removed. It takes much
// longer than scrubbing a short response, so keep it.
func New(values []api.Value) *Scrubber {
	bound := make([]api.Bound, len(values))
	for i, v := range values {
		bound[i].Value = v
	}
	masker, _ := mask.New(bound)
	s := &Scrubber{masker: masker}
	var names []string
	for _, v := range values {
		if text := strings.ToLower(v.Reveal()); len(text) >= mask.MinLength && httpguts.ValidHeaderFieldName(text) && !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	if len(names) > 0 {
		s.names = mask.NewFinder(names)
	}
	return s
}

// Header removes the values from headers or trailers, and the headers whose name has one.
func (s *Scrubber) Header(h http.Header) {
	for name, values := range h {
		if s.inName(name) {
			delete(h, name)
			continue
		}
		for i, v := range values {
			values[i] = s.masker.Blank(v)
		}
	}
}

// inName reports whether the name of a header has a value, in any case.
func (s *Scrubber) inName(name string) bool {
	if s.names == nil || len(name) < mask.MinLength {
		return false
	}
	start, _, _ := s.names.Find(strings.ToLower(name), 0)
	return start >= 0
}

// Errors of responses that can't be scrubbed.
var (
	ErrEncoding = errors.New("the response has a content encoding that can't be scrubbed")
	ErrPart     = errors.New("the response is a part of an encoded body, which can't be scrubbed")
)

// maxEncodings is how many content encodings are decoded.
const maxEncodings = 2

// Body returns a body without the values. It decodes the body if it is encoded, and then removes those of the response's
// headers h that are about its encoded form, among them Content-Length. Of a body that isn't encoded, the length stays.
//
// It passes bytes on as soon as they can't be the start of a value. Close closes body.
//
// Errors: ErrEncoding, ErrPart.
func (s *Scrubber) Body(body io.ReadCloser, h http.Header) (io.ReadCloser, error) {
	encodings, err := encodings(h)
	if err != nil {
		return nil, err
	}
	r := &reader{
		source: body, closer: body, blanker: s.masker.Blanker(),
		part:        h.Get("Content-Range") != "",
		interactive: strings.HasPrefix(h.Get("Content-Type"), "application/grpc"),
	}
	messages, err := messageEncoding(h)
	if err != nil {
		return nil, err
	}
	if len(encodings) == 0 && messages == "" {
		return r, nil
	}
	r.decoded = true
	if r.part && !strings.HasPrefix(h.Get("Content-Range"), "bytes */") || strings.HasPrefix(h.Get("Content-Type"), "multipart/byteranges") {
		return nil, ErrPart
	}
	for i := len(encodings) - 1; i >= 0; i-- {
		d := &decoder{encoding: encodings[i], source: r.source}
		r.source, r.decoders = d, append(r.decoders, d)
	}
	if messages != "" {
		r.source = &envelopes{encoding: messages, source: bufio.NewReader(r.source)}
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Accept-Ranges"} {
		h.Del(name)
	}
	// A strong tag would be that of the encoded form.
	if tag := h.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		h.Set("Etag", "W/"+tag)
	}
	return r, nil
}

// Response removes the values from a response: from its headers, its body, and its trailers when the body has ended.
// Errors: ErrEncoding, ErrPart; the response must not be passed on.
func (s *Scrubber) Response(r *http.Response) error {
	s.Header(r.Header)
	s.Header(r.Trailer) // the names
	body, err := s.Body(r.Body, r.Header)
	if err != nil {
		return err
	}
	scrubbed := body.(*reader)
	if scrubbed.decoded && r.ContentLength > 0 {
		r.ContentLength = -1
	}
	scrubbed.ended = func() { s.Header(r.Trailer) }
	r.Body = scrubbed
	if both, ok := scrubbed.closer.(io.ReadWriteCloser); ok && r.StatusCode == http.StatusSwitchingProtocols {
		scrubbed.interactive = true
		r.Body = upgraded{scrubbed, both}
	}
	return nil
}

// upgraded is a connection after an upgrade.
type upgraded struct {
	*reader
	io.Writer
}

// Accept changes the headers of a request so that the response can be scrubbed: they accept only encodings that can be decoded, none
// for a part of a body, and no compression of WebSocket messages.
func Accept(h http.Header) {
	h.Del("Sec-Websocket-Extensions")
	if len(h.Values("Range")) > 0 {
		h.Set("Accept-Encoding", identity)
	} else {
		acceptDecodable(h, "Accept-Encoding")
	}
	for _, m := range messageEncodings {
		acceptDecodable(h, m.accepted)
	}
}

const identity = "identity"

// acceptDecodable removes encodings that can't be decoded from a header of a request, if it has it.
func acceptDecodable(h http.Header, name string) {
	accepted := h[name]
	if len(accepted) == 0 {
		return
	}
	items := strings.Split(strings.Join(accepted, ","), ",")
	kept := slices.DeleteFunc(items, func(item string) bool {
		encoding, _, _ := strings.Cut(item, ";")
		encoding = strings.ToLower(strings.TrimSpace(encoding))
		return encoding != identity && decoders[encoding] == nil
	})
	switch {
	case len(kept) == 0:
		h[name] = []string{identity}
	case len(kept) < len(items) || len(accepted) > 1:
		h[name] = []string{strings.TrimSpace(strings.Join(kept, ","))}
	}
}

// encodings returns the encodings of a body, in the order in which they were applied.
func encodings(h http.Header) ([]string, error) {
	var list []string
	for item := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		name := strings.ToLower(strings.TrimSpace(item))
		switch {
		case name == "" || name == identity:
		case decoders[name] == nil || len(list) == maxEncodings:
			return nil, ErrEncoding
		default:
			list = append(list, name)
		}
	}
	return list, nil
}
