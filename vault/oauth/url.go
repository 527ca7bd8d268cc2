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
