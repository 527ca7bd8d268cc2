package vault

import (
	"encoding/binary"
	"encoding/json"
	"net"
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

// wipedListener returns connections that overwrite what was read from them before. The buffers of net/http and crypto/tls keep the
// last request, with its values, until the next one arrives: both pass the free part of their buffers to Read, which
// may use all of it as scratch space (io.Reader).
type wipedListener struct {
	net.Listener
	tls bool // connections carry TLS records
}

// Accept implements net.Listener.
func (l wipedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wipedConn{Conn: c, tls: l.tls}, nil
}

// maxWiped is at least the length of the buffers of net/http (4 KiB) and crypto/tls (twice a record). Longer ones are new, and
// overwriting all of one at each read would take long.
const maxWiped = 64 << 10

type wipedConn struct {
	net.Conn
	tls    bool
	header [5]byte // of the current TLS record; the last two bytes are its length
	known  int     // bytes of header
	rest   int     // bytes of the record that weren't read yet
}

// Read implements net.Conn. It reads no TLS record together with the beginning of the next one: crypto/tls decrypts a record in
// place, and would move the rest to a larger buffer without wiping the old one.
func (c *wipedConn) Read(p []byte) (int, error) {
	if len(p) <= maxWiped {
		clear(p)
	}
	if !c.tls {
		return c.Conn.Read(p)
	}
	if c.rest > 0 {
		n, err := c.Conn.Read(p[:min(len(p), c.rest)])
		c.rest -= n
		return n, err
	}
	n, err := c.Conn.Read(p[:min(len(p), len(c.header)-c.known)])
	copy(c.header[c.known:], p[:n])
	if c.known += n; c.known == len(c.header) {
		c.known, c.rest = 0, int(binary.BigEndian.Uint16(c.header[3:]))
	}
	return n, err
}

// CloseWrite is used by net/http, so that a client reads the answer to a request that it is still sending.
func (c *wipedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
