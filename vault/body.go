package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// The longest bodies, in bytes. A value of 1 MiB is up to six times as long in JSON, when every
// byte of it is written as an escape.
const (
	maxBody       = 64 << 10
	maxSecretBody = 8 << 20
)

// maxDepth is the deepest nesting of objects and arrays in a body.
const maxDepth = 32

// readBody reads one JSON object of at most limit bytes. Fields that In doesn't have are ignored,
// since SDKs may send more than we know, unless In is a strictBody.
// Errors: ErrTooLarge; ErrMalformed for what isn't such JSON; ErrInvalid, naming the field, for a
// field of another type, and for one that a strictBody doesn't have. None repeats anything of the body.
func readBody[In any](w http.ResponseWriter, r *http.Request, limit int64) (In, error) {
	var in In
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		leaveUnread(w)
		return in, api.NewError(api.ErrMalformed, "the body must not be compressed")
	}
	paced := &pacedBody{body: http.MaxBytesReader(w, r.Body, limit), conn: http.NewResponseController(w), begun: time.Now()}
	b, err := readAll(paced, r.ContentLength)
	defer clear(b) // it may hold a value
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		leaveUnread(w)
		return in, errTooLarge
	case err != nil:
		w.Header().Set("Connection", "close")
		return in, errSlow
	}
	_ = paced.conn.SetReadDeadline(paced.begun.Add(readTimeout))
	if _, optional := any(in).(optionalBody); optional && len(b) == 0 {
		return in, nil
	}
	if quick, ok := any(&in).(quickBody); ok && quick.readQuickly(b) {
		return in, nil
	}
	if err := scanJSON(b); err != nil {
		return in, err
	}
	err = json.Unmarshal(b, &in)
	if _, strict := any(in).(strictBody); strict && err == nil && hasOther[In](b) {
		return in, api.NewError(api.ErrInvalid, "the body has a field that isn't known here: there are "+strings.Join(fieldsOf(reflect.TypeFor[In]()), ", "))
	}
	var (
		wrongType *json.UnmarshalTypeError
		refused   *api.Error
	)
	switch {
	case err == nil:
		return in, nil
	case errors.As(err, &refused):
		return in, refused
	case errors.As(err, &wrongType):
		return in, api.NewError(api.ErrInvalid, fieldOf(wrongType, reflect.TypeFor[In]())+" must be "+kindOf(wrongType.Type))
	}
	return in, api.NewError(api.ErrMalformed, "the body is not JSON")
}

// optionalBody is the type of a body that may be missing, because all of its fields may.
type optionalBody interface{ mayBeMissing() }

// strictBody is the type of a body in which a misspelled field would allow what should be denied.
type strictBody interface{ knowsAllFields() }

// hasOther reports whether a JSON object has fields that In doesn't have.
func hasOther[In any](b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(new(In)) != nil
}

// fieldsOf returns the names of a struct's fields in JSON.
func fieldsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" {
			names = append(names, name)
		} else if t.Field(i).Anonymous {
			names = append(names, fieldsOf(t.Field(i).Type)...)
		}
	}
	return names
}

// quickBody is the type of a body that is decoded without encoding/json if it has a usual spelling.
type quickBody interface {
	readQuickly([]byte) bool // false: it has another one, or isn't valid, and nothing was decoded
}

var errTooLarge = api.NewError(api.ErrTooLarge, "the body is too large for this route")

// readAll reads to the end. It leaves no copy of a value behind: it allocates once if the length is known, and otherwise wipes the
// buffers that it outgrows.
func readAll(r io.Reader, length int64) (b []byte, err error) {
	// One byte more than the body: only if it reads the end does the server notice that the client disconnected.
	b = make([]byte, 0, max(length, 511)+1)
	for {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), 2*cap(b))
			api.Quietly(func() { copy(grown, b) })
			clear(b)
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		api.ScrubRegisters() // net/http copies what is in its buffer
		b = b[:len(b)+n]
		switch {
		case err == io.EOF && int64(len(b)) < length:
			return b, io.ErrUnexpectedEOF
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// fieldOf is the field's name in JSON, without the names of structs that are embedded in the body's type.
func fieldOf(e *json.UnmarshalTypeError, body reflect.Type) string {
	names := map[string]bool{}
	addNames(names, body)
	var known []string
	for part := range strings.SplitSeq(e.Field, ".") {
		if names[part] {
			known = append(known, part)
		}
	}
	if len(known) == 0 {
		return "the body"
	}
	return strings.Join(known, ".")
}

// addNames adds the names in JSON of a struct's fields, and of theirs.
func addNames(names map[string]bool, of reflect.Type) {
	if of.Kind() != reflect.Struct {
		return
	}
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		names[name] = name != ""
		addNames(names, of.Field(i).Type)
	}
}

// kindOf describes the values of a field.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// scanJSON refuses what the decoder accepts: nesting deeper than maxDepth, text that isn't UTF-8, and escapes of half a
// surrogate pair. The last two decode to U+FFFD, which would change a value. The decoder checks that b is JSON.
func scanJSON(b []byte) error {
	if !utf8.Valid(b) {
		return api.NewError(api.ErrMalformed, "the body is not UTF-8")
	}
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			n, whole := escape(b[i:])
			if !whole {
				return api.NewError(api.ErrMalformed, "the body has an escape of half a character")
			}
			i += n - 1
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return api.NewError(api.ErrMalformed, "the body is nested too deeply")
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// escape returns the length of the escape at the start of b, of which the caller skips the rest, and false if it is half
// of a surrogate pair.
func escape(b []byte) (n int, whole bool) {
	first, ok := hex4(b)
	if !ok || !utf16.IsSurrogate(first) {
		return 2, true
	}
	second, ok := hex4(b[6:])
	return 12, ok && utf16.DecodeRune(first, second) != utf8.RuneError
}

// hex4 reads \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// instant is an optional time in a body. null and absent differ; "" counts as absent.
type instant struct {
	*time.Time
	null bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		i.null = true
		return nil
	}
	var s string
	if b[0] != '"' || json.Unmarshal(b, &s) != nil {
		return errNoTime
	}
	if s == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	// In UTC the year may be another one, which RFC 3339 can't express.
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return errNoTime
	}
	i.Time = &t
	return nil
}

var errNoTime = api.NewError(api.ErrInvalid, "expires_at must be a time such as 2030-01-02T03:04:05Z")

// jsonObject is any JSON object in a body.
type jsonObject json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (o *jsonObject) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*o = nil
	case b[0] == '{':
		*o = append((*o)[:0], b...)
	default:
		return &json.UnmarshalTypeError{Value: "another type", Type: reflect.TypeFor[map[string]any]()}
	}
	return nil
}
