package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"
)

// A reveal is written and read by hand, not by encoding/json: it is what stands between a command and
// its start, and the general encoder and decoder took a quarter of the whole way with a hundred bindings. Tests hold both to what encoding/json does.

// AppendJSON appends the request as JSON. Its length doesn't depend on which key the recipient has.
func (q RevealRequest) AppendJSON(b []byte) []byte {
	b = appendField(b, '{', "resource_type", q.Type)
	b = appendField(b, ',', "resource_id", q.ID)
	b = append(b, `,"recipient":`...)
	b = appendField(b, '{', "suite", q.Recipient.Suite)
	b = appendBytes(b, "public_key", q.Recipient.PublicKey)
	b = append(b, '}')
	if q.Etag != "" {
		b = appendField(b, ',', "etag", q.Etag)
	}
	if q.WaitSeconds != 0 {
		b = append(b, `,"wait_seconds":`...)
		b = strconv.AppendInt(b, int64(q.WaitSeconds), 10)
	}
	return append(b, '}')
}

// AppendJSON appends the answer as JSON.
func (a RevealAnswer) AppendJSON(b []byte) []byte {
	b = slices.Grow(b, a.size())
	b = appendField(b, '{', "etag", a.Etag)
	b = appendField(b, ',', "suite", a.Suite)
	b = appendBytes(b, "enc", a.Enc)
	b = append(b, `,"bindings":[`...)
	for i, s := range a.Bindings {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendJSON(b)
	}
	b = append(b, ']')
	b = appendBytes(b, "closing", a.Closing)
	return append(b, '}')
}

// size is about the length of the answer as JSON.
func (a RevealAnswer) size() int {
	n := 256 + base64.StdEncoding.EncodedLen(len(a.Enc))
	for _, s := range a.Bindings {
		n += 320 + len(s.ExposeAsEnv) + len(s.SecretName) + base64.StdEncoding.EncodedLen(len(s.Sealed))
	}
	return n
}

func (s SealedBinding) appendJSON(b []byte) []byte {
	b = appendField(b, '{', "id", s.ID)
	b = appendField(b, ',', "secret_id", s.SecretID)
	b = appendField(b, ',', "expose_as_env", s.ExposeAsEnv)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, s.Version, 10)
	b = appendField(b, ',', "delivery", s.Delivery)
	b = append(b, `,"expires_at":`...)
	if s.ExpiresAt == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = s.ExpiresAt.AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	if s.SecretName != "" {
		b = appendField(b, ',', "secret_name", s.SecretName)
	}
	if !s.UpdatedAt.IsZero() {
		b = append(b, `,"updated_at":"`...)
		b = s.UpdatedAt.AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	b = appendBytes(b, "sealed", s.Sealed)
	return append(b, '}')
}

func appendField(b []byte, before byte, name, value string) []byte {
	b = append(b, before, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	if plainText(value) {
		b = append(b, '"')
		b = append(b, value...)
		return append(b, '"')
	}
	quoted, _ := json.Marshal(value) // a string always encodes
	return append(b, quoted...)
}

func appendBytes(b []byte, name string, value []byte) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = base64.StdEncoding.AppendEncode(b, value)
	return append(b, '"')
}

// plainText tells whether a JSON string of s is s between quotes.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// ErrNotJSON says that an answer isn't JSON of the form expected. It never quotes the answer.
var ErrNotJSON = errors.New("not JSON of the expected form")

// ParseRevealAnswer reads an answer to a reveal. Unknown fields are skipped; of a field that stands
// twice the last counts; a list that isn't there is nil.
// Errors: ErrNotJSON.
func ParseRevealAnswer(body []byte) (RevealAnswer, error) {
	var a RevealAnswer
	p := parser{rest: body}
	p.object(func(name []byte) {
		switch string(name) {
		case "etag":
			p.text(&a.Etag)
		case "suite":
			p.text(&a.Suite)
		case "enc":
			p.bytes(&a.Enc)
		case "closing":
			p.bytes(&a.Closing)
		case "bindings":
			a.Bindings = p.bindings()
		default:
			p.skip()
		}
	})
	p.space()
	if p.failed || len(p.rest) > 0 {
		return RevealAnswer{}, ErrNotJSON
	}
	return a, nil
}

func (p *parser) bindings() []SealedBinding {
	if p.null() {
		return nil
	}
	all := []SealedBinding{}
	p.list(func() {
		var s SealedBinding
		p.object(func(name []byte) {
			switch string(name) {
			case "id":
				p.text(&s.ID)
			case "secret_id":
				p.text(&s.SecretID)
			case "expose_as_env":
				p.text(&s.ExposeAsEnv)
			case "delivery":
				p.text(&s.Delivery)
			case "version":
				p.integer(&s.Version)
			case "expires_at":
				p.time(&s.ExpiresAt)
			case "secret_name":
				p.text(&s.SecretName)
			case "updated_at":
				var at *time.Time
				if p.time(&at); at != nil {
					s.UpdatedAt = *at
				}
			case "sealed":
				p.bytes(&s.Sealed)
			default:
				p.skip()
			}
		})
		all = append(all, s)
	})
	return all
}
