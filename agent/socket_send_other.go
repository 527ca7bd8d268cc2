//go:build !linux

package agent

import "net"

// send sends everything, by the connection's deadline for writing.
func (g *gather) send(c *net.UnixConn) error {
	for {
		more, err := g.once(func(parts [][]byte) (int, error) { return c.Write(parts[0]) })
		if err != nil || !more {
			return err
		}
	}
}
