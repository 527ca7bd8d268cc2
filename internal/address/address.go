// Package address knows which IP addresses are public: none of this machine, a private network or a link.
package address

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// networks are those whose addresses are special. They are parsed when they are needed: most commands don't.
var networks = sync.OnceValue(func() (n struct {
	nat64     netip.Prefix
	unicast6  netip.Prefix // the only part of IPv6 that is assigned to public hosts
	notPublic []netip.Prefix
	metadata  []netip.Addr // at which clouds serve the metadata of their machines, besides those of links
}) {
	n.nat64, n.unicast6 = netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2000::/3")
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"168.63.129.16/32", // Azure's metadata and agents
		"2001::/23",        // with Teredo, which has an IPv4 address inside
		"2001:db8::/32",
		"2002::/16", // 6to4, which has one too
		"3fff::/20",
	} {
		n.notPublic = append(n.notPublic, netip.MustParsePrefix(text))
	}
	for _, text := range []string{
		"168.63.129.16",   // Azure
		"100.100.100.200", // Alibaba
		"192.0.0.192",     // Oracle
		"fd00:ec2::254",   // AWS
		"fd20:ce::254",    // Google
	} {
		n.metadata = append(n.metadata, netip.MustParseAddr(text))
	}
	return n
})

// Canonical is the address that packets to ip go to: the IPv4 address inside a mapped or NAT64 one.
func Canonical(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if networks().nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// Public reports whether an address is public: not of this machine, a private network or a link, and none at which a
// cloud serves the metadata of its machines.
func Public(ip netip.Addr) bool {
	ip = Canonical(ip)
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Is6() && !networks().unicast6.Contains(ip) {
		return false
	}
	for _, p := range networks().notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// Link reports whether an address is one of a link, or one at which a cloud serves the metadata of its machines.
func Link(ip netip.Addr) bool {
	ip = Canonical(ip)
	return ip.IsLinkLocalUnicast() || slices.Contains(networks().metadata, ip)
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
