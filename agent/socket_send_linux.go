package agent

import (
	"net"

	"golang.org/x/sys/unix"
)

// send sends everything, by the connection's deadline for writing.
func (g *gather) send(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = raw.Write(func(fd uintptr) (done bool) {
		call := func(parts [][]byte) (int, error) {
			return unix.SendmsgBuffers(int(fd), parts, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		}
		for {
			more, err := g.once(call)
			switch {
			case err == unix.EAGAIN: //nolint:errorlint // a bare errno
				return false
			case err == unix.EINTR: //nolint:errorlint // a bare errno
			case err != nil:
				fault = err
				return true
			case !more:
				return true
			}
		}
	})
	if fault != nil {
		return fault
	}
	return err
}
