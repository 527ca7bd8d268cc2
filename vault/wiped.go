package vault

import "net"

// wipedListener returns connections that overwrite what was read from them before. The buffers of net/http and crypto/tls keep the
// last request, with its values, until the next one arrives: both pass the free part of their buffers to Read, which
// may use all of it as scratch space (io.Reader).
type wipedListener struct{ net.Listener }

// Accept implements net.Listener.
func (l wipedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wipedConn{c}, nil
}

// maxWiped is longer than the buffers of net/http (4 KiB) and crypto/tls (a record, and 512 bytes). Longer ones are new, and
// overwriting all of one at each read would take long.
const maxWiped = 24 << 10

type wipedConn struct{ net.Conn }

// Read implements net.Conn.
func (c wipedConn) Read(p []byte) (int, error) {
	if len(p) <= maxWiped {
		clear(p)
	}
	return c.Conn.Read(p)
}

// CloseWrite is used by net/http, so that a client reads the answer to a request that it is still sending.
func (c wipedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
