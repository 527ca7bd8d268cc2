// Package address knows which IP addresses are public: none of this machine, a private network or a link.
package address

import (
	"net"
	"net/netip"
	"slices"
)

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	unicast6  = netip.MustParsePrefix("2000::/3") // the only part of IPv6 that is assigned to public hosts
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("168.63.129.16/32"), // Azure's metadata and agents
		netip.MustParsePrefix("2001::/23"),        // with Teredo, which has an IPv4 address inside
		netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("2002::/16"), // 6to4, which has one too
		netip.MustParsePrefix("3fff::/20"),
	}
)

// Canonical is the address that packets to ip go to: the IPv4 address inside a mapped or NAT64 one.
func Canonical(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// Public reports whether an address is public: not of this machine, a private network or a link, and none at which a
// cloud serves the metadata of its machines.
func Public(ip netip.Addr) bool {
	ip = Canonical(ip)
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Is6() && !unicast6.Contains(ip) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// metadata are addresses at which clouds serve the metadata of their machines, besides those of links.
var metadata = []netip.Addr{
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
}

// Link reports whether an address is one of a link, or one at which a cloud serves the metadata of its machines.
func Link(ip netip.Addr) bool {
	ip = Canonical(ip)
	return ip.IsLinkLocalUnicast() || slices.Contains(metadata, ip)
}

// Own returns the addresses of this machine's interfaces, each Canonical.
func Own() (map[netip.Addr]bool, error) {
	local, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	own := make(map[netip.Addr]bool, len(local))
	for _, a := range local {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[Canonical(p.Addr())] = true
		}
	}
	return own, nil
}
