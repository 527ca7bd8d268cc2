package fetch

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitSilence bounds how long sent bytes may stay unacknowledged: keepalive probes don't run
// while some are. Without it a link that goes down mid-request is noticed after a quarter hour.
func limitSilence(conn syscall.RawConn) {
	_ = conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
}
