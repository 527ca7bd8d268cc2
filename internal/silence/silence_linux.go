package silence

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Set limits the silence of a connection while bytes are unacknowledged: keepalive probes don't run then.
func Set(conn syscall.RawConn) {
	_ = conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(Limit.Milliseconds()))
	})
}
