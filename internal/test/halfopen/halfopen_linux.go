// Package halfopen makes half-open connections: their peer seems to be gone, and hasn't closed them.
package halfopen

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// DropReceived makes the kernel drop every segment that arrives for a connection, as if this machine had been unplugged.
func DropReceived(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	})
	return errors.Join(err, failed)
}
