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

	"github.com/Miosa-osa/miosa-env/internal/address"
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

func (d publicDialer) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout) // with the resolution of the vault's own name
	defer cancel()
	own, err := d.own(ctx, hostPort)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Resolver: d.resolver, Control: func(_, resolved string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(resolved)
		if err != nil || !address.Public(to.Addr()) || own[address.Canonical(to.Addr())] {
			return errNotPublic
		}
		return nil
	}}
	return dialer.DialContext(ctx, network, hostPort)
}

// own returns the addresses of this machine, and of the vault's public URL, which may be those of a proxy in front of
// it. Other ports of that proxy are other servers. Errors: errNotPublic if hostPort is the public URL's.
func (d publicDialer) own(ctx context.Context, hostPort string) (map[netip.Addr]bool, error) {
	own, err := address.Own()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(hostPort)
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
		own[address.Canonical(a)] = true
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
