//go:build !linux

package socket

import "net"

// send sends everything before the write deadline of c.
func (g *gather) send(c *net.UnixConn) error {
	for {
		more, err := g.step(func(parts [][]byte) (int, error) { return c.Write(parts[0]) })
		if err != nil || !more {
			return err
		}
	}
}
