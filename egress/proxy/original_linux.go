package proxy

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// originalDestinationOption is SO_ORIGINAL_DST of IPv4 and IP6T_SO_ORIGINAL_DST of IPv6. Source: linux/netfilter_ipv4.h and
// linux/netfilter_ipv6/ip6_tables.h.
const originalDestinationOption = 80

var errNotRedirected = errors.New("the connection was not redirected: its destination is the proxy")

// originalDestination returns the address that the client has connected to. It was changed by nftables' or iptables' REDIRECT or
// DNAT, or, with TPROXY, it is the local address.
func originalDestination(c net.Conn) (destination, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return destination{}, errNotRedirected
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return destination{}, err
	}
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return destination{}, err
	}
	original := local
	err = raw.Control(func(fd uintptr) {
		if local.Addr().Unmap().Is4() {
			// A struct of another type has the size of sockaddr_in at least.
			if a, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, originalDestinationOption); err == nil {
				b := a.Multiaddr
				original = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
			}
			return
		}
		if a, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, originalDestinationOption); err == nil {
			var port [2]byte
			binary.NativeEndian.PutUint16(port[:], a.Addr.Port)
			original = netip.AddrPortFrom(netip.AddrFrom16(a.Addr.Addr), binary.BigEndian.Uint16(port[:]))
		}
	})
	if err != nil {
		return destination{}, err
	}
	if original == local && !transparent(raw) {
		return destination{}, errNotRedirected
	}
	return destination{original.Addr().Unmap().WithZone("").String(), int(original.Port())}, nil
}

// transparent reports whether a socket may have the address of another machine, as with TPROXY.
func transparent(raw syscall.RawConn) (is bool) {
	_ = raw.Control(func(fd uintptr) {
		four, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TRANSPARENT)
		six, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT)
		is = four == 1 || six == 1
	})
	return is
}
