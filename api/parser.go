package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// parser reads JSON from the front of rest. After the first mistake it has failed: every method then
// does nothing. A null leaves what it would have set as it is, as encoding/json does.
type parser struct {
	rest   []byte
	failed bool
}

func (p *parser) fail() { p.failed, p.rest = true, nil }

func (p *parser) space() {
	for len(p.rest) > 0 {
		switch p.rest[0] {
		case ' ', '\t', '\r', '\n':
			p.rest = p.rest[1:]
		default:
			return
		}
	}
}

// next takes c, behind white space, if it is next.
func (p *parser) next(c byte) bool {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) expect(c byte) {
	if !p.next(c) {
		p.fail()
	}
}

// object reads an object, calling field for the value behind each name.
func (p *parser) object(field func(name []byte)) {
	p.expect('{')
	if p.failed || p.next('}') {
		return
	}
	for !p.failed {
		name := p.string()
		p.expect(':')
		if !p.failed {
			field(name)
		}
		if !p.next(',') {
			p.expect('}')
			return
		}
	}
}

// list reads a list, calling element for each of its values.
func (p *parser) list(element func()) {
	p.expect('[')
	if p.failed || p.next(']') {
		return
	}
	for !p.failed {
		element()
		if !p.next(',') {
			p.expect(']')
			return
		}
	}
}

// string reads a string. Only one with escapes, or bytes beyond ASCII, is copied.
func (p *parser) string() []byte {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != '"' {
		p.fail()
		return nil
	}
	plain := true
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			quoted := p.rest[:i+1]
			p.rest = p.rest[i+1:]
			if plain {
				return quoted[1:i]
			}
			var text string
			if json.Unmarshal(quoted, &text) != nil {
				p.fail()
			}
			return []byte(text)
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			p.fail()
			return nil
		case c >= 0x80:
			plain = false
		}
	}
	p.fail()
	return nil
}

func (p *parser) null() bool {
	p.space()
	rest, ok := bytes.CutPrefix(p.rest, []byte("null"))
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *parser) text(to *string) {
	if !p.null() {
		if text := p.string(); !p.failed {
			*to = string(text)
		}
	}
}

// bytes reads base64.
func (p *parser) bytes(to *[]byte) {
	if p.null() {
		*to = nil
		return
	}
	text := p.string()
	if p.failed {
		return
	}
	decoded, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	if err != nil {
		p.fail()
		return
	}
	*to = decoded
}

func (p *parser) integer(to *int64) {
	if p.null() {
		return
	}
	n := 0
	for n < len(p.rest) && (p.rest[n] == '-' || p.rest[n] >= '0' && p.rest[n] <= '9') {
		n++
	}
	digits := p.rest[:n]
	p.rest = p.rest[n:]
	number, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || !json.Valid(digits) { // 01 and -01 are none
		p.fail()
		return
	}
	*to = number
}

func (p *parser) time(to **time.Time) {
	if p.null() {
		*to = nil
		return
	}
	var at time.Time
	if text := p.string(); !p.failed && at.UnmarshalText(text) != nil {
		p.fail()
	}
	if !p.failed {
		*to = &at
	}
}

// skip reads any value. Its decoder bounds how deep that may be.
func (p *parser) skip() {
	decoder := json.NewDecoder(bytes.NewReader(p.rest))
	var any json.RawMessage
	if decoder.Decode(&any) != nil {
		p.fail()
		return
	}
	p.rest = p.rest[decoder.InputOffset():]
}
