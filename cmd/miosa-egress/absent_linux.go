package main

import (
	"cmp"
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenAbsent listens on an address that no device of this machine needs to have: connections arrive as soon as one has it.
func listenAbsent(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		level, option := unix.IPPROTO_IP, unix.IP_FREEBIND
		if network == "tcp6" {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
		}
		var set error
		err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) })
		return cmp.Or(err, set)
	}}
	return c.Listen(ctx, "tcp", address)
}
