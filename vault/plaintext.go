package vault

import (
	"encoding/json"
	"reflect"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// plaintext is a JSON string that contains a secret. null counts as absent.
type plaintext struct{ api.Value }

// UnmarshalJSON implements json.Unmarshaler. The decoder would leave a copy of the value in memory, as a string.
func (p *plaintext) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] != '"' {
		return &json.UnmarshalTypeError{Value: "another type", Type: reflect.TypeFor[string]()}
	}
	p.Value = api.NewValue(unquote(b))
	return nil
}

// unquote decodes a JSON string, which scanJSON and the decoder have checked.
func unquote(quoted []byte) []byte {
	in := quoted[1 : len(quoted)-1]
	out := make([]byte, 0, len(in)) // no escape is shorter than what it stands for
	for i := 0; i < len(in); {
		if in[i] != '\\' {
			out = append(out, in[i])
			i++
			continue
		}
		c := in[i+1]
		if c != 'u' {
			out = append(out, unescape(c))
			i += 2
			continue
		}
		r, _ := hex4(in[i:])
		i += 6
		if utf16.IsSurrogate(r) {
			second, _ := hex4(in[i:])
			r = utf16.DecodeRune(r, second)
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// unescape returns what a backslash and c stand for.
func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote, a slash or a backslash
}
