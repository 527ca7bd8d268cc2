package vault

import (
	"encoding/binary"
	"net"
)

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
