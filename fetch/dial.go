package fetch

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// connectTimeout bounds name lookup and connecting together, and then the TLS handshake.
const connectTimeout = 3 * time.Second

// silence is how long a peer may fail to acknowledge before its connection counts as broken. It
// bounds how late a half-open connection is noticed under a reveal that waits.
const silence = 25 * time.Second

// metadata is the address of AWS's instance metadata over IPv6; the others are link-local.
var metadata = netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54})

// nat64 is the first half of an IPv6 address that a gateway turns into the IPv4 one at its end.
var nat64 = netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96)

// dialer connects only where a key may go. The check runs after name lookup, on the very address
// that is connected to, so a name that changes its answer gains nothing.
func dialer(loopbackOnly bool) *net.Dialer {
	return &net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control: func(_, address string, conn syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return &Problem{Reason: BadAddress, Message: "the vault's name leads to something that is no network address"}
			}
			if err := allowed(to.Addr(), loopbackOnly); err != nil {
				return err
			}
			limitSilence(conn)
			return nil
		},
	}
}

// allowed refuses link-local and metadata addresses, and with loopbackOnly all but loopback.
// Instance metadata services give credentials to whoever asks, and would log our key.
func allowed(ip netip.Addr, loopbackOnly bool) error {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case ip.IsLinkLocalUnicast() || ip == metadata:
		return &Problem{Reason: BadAddress,
			Message: "the vault's address " + ip.String() + " is link-local or a metadata service: refused",
			Hint:    "check MIOSA_BASE_URL and what its host resolves to"}
	case loopbackOnly && !ip.IsLoopback():
		return &Problem{Reason: BadAddress,
			Message: "the vault's address " + ip.String() + " isn't loopback: plain http is refused",
			Hint:    "use https in MIOSA_BASE_URL"}
	}
	return nil
}
