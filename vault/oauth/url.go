package oauth

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// checkOwnURL checks a URL of the vault or its tenants for browsers, which has no query.
func checkOwnURL(text string) error {
	if err := checkURL(text); err != nil {
		return err
	}
	if strings.Contains(text, "?") {
		return errors.New("must have no query")
	}
	return nil
}

// checkURL checks an https URL, or an http URL of a loopback address. Secrets are sent there.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("want a URL such as https://id.example.com")
	case u.User != nil:
		return errors.New("must hold no user name or password")
	case strings.Contains(text, "#"):
		return errors.New("must have no fragment")
	case u.Scheme == "https" || u.Scheme == "http" && loopbackHost(u.Hostname()):
		return nil
	}
	return errors.New("must begin with https:// (http:// is for loopback only)")
}

// loopbackHost reports whether a URL's host is localhost or a loopback address.
func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b:1::/48"),
		netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
	}
)

// public reports whether an address is public: not of this machine, a private network or a link.
func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
