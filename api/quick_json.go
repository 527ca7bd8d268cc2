package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The messages of a reveal are encoded here without encoding/json, and decoded without it if they are spelled as this
// file encodes them; encoding/json decodes all others. With encoding/json alone a start takes 5 % longer, and with a
// hundred bindings 20 %. (2026, go run ./bench/measure -only startup)

// AppendJSON appends the request as JSON. Its length doesn't depend on which key the recipient has.
func (q RevealRequest) AppendJSON(b []byte) []byte {
	b = append(b, `{"version":`...)
	b = strconv.AppendInt(b, int64(q.Version), 10)
	b = AppendString(append(b, `,"resource_type":`...), q.Type)
	b = AppendString(append(b, `,"resource_id":`...), q.ID)
	b = AppendString(append(b, `,"recipient":{"suite":`...), q.Recipient.Suite)
	b = append(b, `,"public_key":"`...)
	b = base64.StdEncoding.AppendEncode(b, q.Recipient.PublicKey)
	b = append(b, `"}`...)
	if q.Etag != "" {
		b = AppendString(append(b, `,"etag":`...), q.Etag)
	}
	if q.WaitSeconds != 0 {
		b = strconv.AppendInt(append(b, `,"wait_seconds":`...), int64(q.WaitSeconds), 10)
	}
	return append(b, '}')
}

// ReadRevealRequest decodes a request that is spelled as AppendJSON encodes it. It returns false for any other text, valid or not.
// The request shares no memory with the rest of the text.
func ReadRevealRequest(body []byte) (q RevealRequest, ok bool) {
	r := newReader(body)
	r.skip(`{"version":`)
	version := r.integer()
	r.skip(`,"resource_type":`)
	q.Type = strings.Clone(r.text())
	r.skip(`,"resource_id":`)
	q.ID = strings.Clone(r.text())
	r.skip(`,"recipient":{"suite":`)
	q.Recipient.Suite = strings.Clone(r.text())
	r.skip(`,"public_key":`)
	key := r.text()
	r.skip(`}`)
	if r.has(`,"etag":`) {
		q.Etag = strings.Clone(r.text())
	}
	wait := int64(0)
	if r.has(`,"wait_seconds":`) {
		wait = r.integer()
	}
	r.skip(`}`)
	if r.otherwise || r.rest != "" || max(version, wait) > math.MaxInt32 {
		return RevealRequest{}, false
	}
	q.Version, q.WaitSeconds = int(version), int(wait)
	var err error
	if q.Recipient.PublicKey, err = base64.StdEncoding.DecodeString(key); err != nil {
		return RevealRequest{}, false
	}
	return q, true
}

// AppendJSON appends the answer as JSON.
func (a RevealAnswer) AppendJSON(b []byte) []byte {
	b = slices.Grow(b, 128+base64.StdEncoding.EncodedLen(len(a.Sealed)))
	b = AppendString(append(b, `{"etag":`...), a.Etag)
	b = AppendString(append(b, `,"suite":`...), a.Suite)
	b = append(b, `,"sealed":"`...)
	b = base64.StdEncoding.AppendEncode(b, a.Sealed)
	return append(b, `"}`...)
}

// DecodeRevealAnswer decodes an answer to a reveal.
// Errors: those of encoding/json, which may quote the answer.
func DecodeRevealAnswer(body []byte) (a RevealAnswer, err error) {
	head, tail, _ := bytes.Cut(body, []byte(`,"sealed":"`))
	head = head[:min(len(head), 1<<10)]
	sealed, end, _ := bytes.Cut(tail, []byte(`"`))
	r := newReader(head)
	r.skip(`{"etag":`)
	a.Etag = r.text()
	r.skip(`,"suite":`)
	a.Suite = r.text()
	if !r.otherwise && r.rest == "" && string(bytes.TrimRight(end, "\n")) == "}" && bytes.IndexByte(sealed, '\r') < 0 && bytes.IndexByte(sealed, '\n') < 0 {
		if a.Sealed, err = base64.StdEncoding.AppendDecode([]byte{}, sealed); err == nil {
			return a, nil
		}
	}
	a = RevealAnswer{}
	return a, json.Unmarshal(body, &a)
}

// appendHeader appends the header of a set whose values have these lengths.
func appendHeader(b []byte, s Snapshot, lengths []int) []byte {
	if s.forBroker() {
		return append(b, compact(s.header(lengths))...)
	}
	b = AppendString(append(b, `{"resource_type":`...), s.Resource.Type)
	b = AppendString(append(b, `,"resource_id":`...), s.Resource.ID)
	b = AppendString(append(b, `,"etag":`...), s.Etag)
	b = append(b, `,"bindings":[`...)
	for i, l := range s.Bound {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(append(b, `{"id":`...), l.ID)
		b = AppendString(append(b, `,"secret_id":`...), l.SecretID)
		b = AppendString(append(b, `,"expose_as_env":`...), l.ExposeAsEnv)
		b = strconv.AppendInt(append(b, `,"version":`...), l.Version, 10)
		b = AppendString(append(b, `,"delivery":`...), l.Delivery)
		if l.ExpiresAt != nil {
			b = appendTime(append(b, `,"expires_at":`...), *l.ExpiresAt)
		}
		if l.SecretName != "" {
			b = AppendString(append(b, `,"secret_name":`...), l.SecretName)
		}
		if !l.UpdatedAt.IsZero() {
			b = appendTime(append(b, `,"updated_at":`...), l.UpdatedAt)
		}
		b = strconv.AppendInt(append(b, `,"length":`...), int64(lengths[i]), 10)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

func appendTime(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// readHeader decodes a header that is spelled as appendHeader encodes it.
func readHeader(line []byte) (s Snapshot, lengths []int, ok bool) {
	r := newReader(line)
	r.skip(`{"resource_type":`)
	s.Resource.Type = r.text()
	r.skip(`,"resource_id":`)
	s.Resource.ID = r.text()
	r.skip(`,"etag":`)
	s.Etag = r.text()
	r.skip(`,"bindings":[`)
	s.Bound, lengths = make([]Bound, 0, len(r.rest)/128), make([]int, 0, len(r.rest)/128)
	for !r.otherwise && !r.has("]}") {
		if len(s.Bound) > 0 {
			r.skip(",")
		}
		s.Bound = append(s.Bound, Bound{})
		lengths = append(lengths, r.binding(&s.Bound[len(s.Bound)-1]))
	}
	return s, lengths, !r.otherwise && r.rest == ""
}

// binding decodes a binding into b, and returns the length of its value.
func (r *reader) binding(b *Bound) (length int) {
	r.skip(`{"id":`)
	b.ID = r.text()
	r.skip(`,"secret_id":`)
	b.SecretID = r.text()
	r.skip(`,"expose_as_env":`)
	b.ExposeAsEnv = r.text()
	r.skip(`,"version":`)
	b.Version = r.integer()
	r.skip(`,"delivery":`)
	b.Delivery = r.text()
	if r.has(`,"expires_at":`) {
		expires := r.time()
		b.ExpiresAt = &expires
	}
	if r.has(`,"secret_name":`) {
		b.SecretName = r.text()
	}
	if r.has(`,"updated_at":`) {
		b.UpdatedAt = r.time()
	}
	r.skip(`,"length":`)
	n := r.integer()
	if n > math.MaxInt32 {
		r.otherwise = true
	}
	r.skip("}")
	return int(n)
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if !plain(s[i]) {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// plain reports whether a character is the same in a JSON string.
func plain(c byte) bool { return c >= ' ' && c <= '~' && c != '"' && c != '\\' }

// reader decodes JSON of one spelling. After the first difference it returns zero values.
type reader struct {
	rest      string
	otherwise bool // the spelling differs
}

// newReader returns a reader of text that contains no escapes and only printable ASCII.
func newReader(text []byte) reader {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return reader{otherwise: true}
		}
	}
	return reader{rest: string(text)}
}

// has takes text if it is next.
func (r *reader) has(text string) bool {
	rest, ok := strings.CutPrefix(r.rest, text)
	r.rest = rest
	return ok
}

func (r *reader) skip(text string) {
	if !r.has(text) {
		r.otherwise, r.rest = true, ""
	}
}

func (r *reader) text() string {
	r.skip(`"`)
	text, rest, ok := strings.Cut(r.rest, `"`)
	if !ok {
		r.otherwise = true
	}
	r.rest = rest
	return text
}

func (r *reader) time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, r.text())
	if err != nil {
		r.otherwise = true
	}
	return t
}

// integer reads a number that isn't negative.
func (r *reader) integer() int64 {
	n := 0
	for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	number, err := strconv.ParseInt(r.rest[:n], 10, 64)
	if err != nil || n > 1 && r.rest[0] == '0' {
		r.otherwise, r.rest = true, ""
		return 0
	}
	r.rest = r.rest[n:]
	return number
}
