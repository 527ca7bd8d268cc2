package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// setHeader is the header of a set's encoding: one line of JSON. After its line feed come the bytes of the values, one
// after the other. Reveals and caches seal this encoding, and sockets send it. Source: docs/api.md, "The set".
type setHeader struct {
	Resource
	Etag     string         `json:"etag"`
	Policy   *NetworkPolicy `json:"policy,omitempty"`
	Bindings []setBinding   `json:"bindings"`
}

// setBinding is one binding of a header.
type setBinding struct {
	Label
	About
	Length int `json:"length"` // of the value, in bytes
}

var (
	// ErrWiped is the error of a value that was wiped while its set was encoded.
	ErrWiped = errors.New("the set was wiped meanwhile")
	// ErrNotSet is the error for bytes that are not the encoding of a set.
	ErrNotSet = errors.New("not the encoding of a set")
)

// Header returns the header of the set's encoding, its line feed included, and the length of each value.
func (s Snapshot) Header() (header []byte, lengths []int) {
	lengths = make([]int, len(s.Bound))
	for i, b := range s.Bound {
		lengths[i] = b.Value.Len()
	}
	return append(appendHeader(make([]byte, 0, 256+320*len(s.Bound)), s, lengths), '\n'), lengths
}

// forBroker reports whether the set has fields that only the sets of broker keys have.
func (s Snapshot) forBroker() bool {
	return s.Policy != nil || slices.ContainsFunc(s.Bound, func(b Bound) bool { return b.Egress != nil })
}

// header is what decodeHeader decodes.
func (s Snapshot) header(lengths []int) setHeader {
	h := setHeader{Resource: s.Resource, Etag: s.Etag, Policy: s.Policy, Bindings: make([]setBinding, len(s.Bound))}
	for i, b := range s.Bound {
		h.Bindings[i] = setBinding{b.Label, b.About, lengths[i]}
	}
	return h
}

// Encode returns the set's encoding, in memory that alloc returns for its size.
// Errors: ErrWiped.
func (s Snapshot) Encode(alloc func(size int) []byte) (encoded []byte, err error) {
	header, lengths := s.Header()
	size := len(header)
	for _, n := range lengths {
		size += n
	}
	encoded = alloc(size)
	at := copy(encoded, header)
	Quietly(func() {
		for i, b := range s.Bound {
			b.Value.Use(func(value []byte) {
				if len(value) != lengths[i] {
					err = ErrWiped
					return
				}
				at += copy(encoded[at:], value)
			})
		}
	})
	if err != nil {
		return nil, err
	}
	return encoded, nil
}

// DecodeSnapshot decodes a set. value returns the value of a given length at an offset of encoded; nil: values refer to
// encoded, which the caller must not use any more.
// Errors: ErrNotSet.
func DecodeSnapshot(encoded []byte, value func(at, length int) Value) (Snapshot, error) {
	end := bytes.IndexByte(encoded, '\n')
	if end < 0 {
		return Snapshot{}, ErrNotSet
	}
	s, lengths, ok := readHeader(encoded[:end])
	if !ok {
		if s, lengths, ok = decodeHeader(encoded[:end]); !ok {
			return Snapshot{}, ErrNotSet
		}
	}
	if value == nil {
		value = func(at, length int) Value { return NewValue(encoded[at : at+length : at+length]) }
	}
	at := end + 1
	for i, length := range lengths {
		if length < 0 || length > len(encoded)-at {
			return Snapshot{}, ErrNotSet
		}
		s.Bound[i].Value = value(at, length)
		at += length
	}
	if at != len(encoded) {
		return Snapshot{}, ErrNotSet
	}
	return s, nil
}

// decodeHeader decodes any header.
func decodeHeader(line []byte) (s Snapshot, lengths []int, ok bool) {
	var h setHeader
	if json.Unmarshal(line, &h) != nil {
		return Snapshot{}, nil, false
	}
	s = Snapshot{Resource: h.Resource, Etag: h.Etag, Policy: h.Policy, Bound: make([]Bound, len(h.Bindings))}
	lengths = make([]int, len(h.Bindings))
	for i, b := range h.Bindings {
		s.Bound[i] = Bound{Label: b.Label, About: b.About}
		lengths[i] = b.Length
	}
	return s, lengths, true
}
