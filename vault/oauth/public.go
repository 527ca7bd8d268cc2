package oauth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// publicDialer connects to hosts that a tenant has named: at public addresses only, and not at the vault's own. It checks
// the address that is connected to, so a name that resolves to another address each time is no way around it.
type publicDialer struct {
	publicURL string        // of the vault; "": not known
	resolver  *net.Resolver // nil: the system's
}

// client uses no proxy, since only the proxy would see the address.
func (d publicDialer) client() *http.Client { return newClient(nil, d.dial) }

// errNotPublic is the cause of an Error if a tenant's URL doesn't have a public address. Tenants don't see it: it would
// show them which hosts of a private network exist.
var errNotPublic = errors.New("the address is not a public one; an operator can allow the URL under [machine] token_urls")

func (d publicDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout) // with the resolution of the vault's own name
	defer cancel()
	own, err := d.own(ctx, address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Resolver: d.resolver, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !public(to.Addr()) || own[canonical(to.Addr())] {
			return errNotPublic
		}
		return nil
	}}
	return dialer.DialContext(ctx, network, address)
}

// own returns the addresses of this machine, and of the vault's public URL, which may be those of a proxy in front of
// it. Other ports of that proxy are other servers. Errors: errNotPublic if address is the public URL's.
func (d publicDialer) own(ctx context.Context, address string) (map[netip.Addr]bool, error) {
	own := map[netip.Addr]bool{}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range local {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[canonical(p.Addr())] = true
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(d.publicURL)
	if err != nil || u.Host == "" || port != portOf(u) {
		return own, nil //nolint:nilerr // the configuration has a valid URL, or none
	}
	if canonicalHost(host) == canonicalHost(u.Hostname()) {
		return nil, errNotPublic
	}
	resolver := d.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	found, _ := resolver.LookupNetIP(ctx, "ip", u.Hostname()) // a name that isn't known here has no address to refuse
	for _, a := range found {
		own[canonical(a)] = true
	}
	return own, nil
}

// portOf is the port of an https or http URL.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

func canonicalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	unicast6  = netip.MustParsePrefix("2000::/3") // the only part of IPv6 that is assigned to public hosts
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("2001::/23"), // with Teredo, which has an IPv4 address inside
		netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("2002::/16"), // 6to4, which has one too
		netip.MustParsePrefix("3fff::/20"),
	}
)

// canonical is the address that packets to ip go to: the IPv4 address inside a mapped or NAT64 one.
func canonical(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// public reports whether an address is public: not of this machine, a private network or a link.
func public(ip netip.Addr) bool {
	ip = canonical(ip)
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
