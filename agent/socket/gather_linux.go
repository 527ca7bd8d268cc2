package socket

import (
	"net"

	"golang.org/x/sys/unix"
)

// send sends everything before the write deadline of c. System calls don't block, so that no value is in use meanwhile.
func (g *gather) send(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) (done bool) {
		write := func(parts [][]byte) (int, error) {
			return unix.SendmsgBuffers(int(fd), parts, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		}
		for more := true; more; {
			more, sendErr = g.step(write)
			switch sendErr { //nolint:errorlint // a bare errno
			case unix.EAGAIN:
				return false
			case nil, unix.EINTR:
			default:
				return true
			}
		}
		return true
	})
	if sendErr != nil && sendErr != unix.EAGAIN { //nolint:errorlint // a bare errno
		return sendErr
	}
	return err
}
