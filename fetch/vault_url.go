package fetch

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Vault returns the base URL in its normal form: with a path, without a trailing slash, with scheme and host in lower
// case, without the scheme's default port, and with percent-encoding normalized as in RFC 3986, section 6.2.2. Two
// configurations use the same vault if these are equal.
func (c Config) Vault() (string, error) {
	u, err := c.base()
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// Vault returns Config.Vault of the client's configuration.
func (c *Client) Vault() string { return c.base }

// base returns BaseURL, checked and in its normal form.
func (c Config) base() (*url.URL, error) {
	text := setting.Trim(c.BaseURL)
	if text == "" {
		text = DefaultBaseURL
	}
	if strings.ContainsFunc(text, unicode.IsSpace) {
		return nil, badBase("the base URL has white space in it")
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return nil, badBase("the base URL isn't a URL: want https://HOST/api/v1") // not repeated: it may contain a password
	}
	host, port := u.Hostname(), u.Port()
	switch {
	case u.User != nil:
		return nil, badBase("the base URL must not hold a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, badBase("the base URL must not hold a query or fragment")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, badBase("base URL " + api.RedactKeys(u.String()) + ": want https://HOST/api/v1")
	case host == "":
		return nil, badBase("the base URL has no host: want https://HOST/api/v1")
	case u.Scheme == "http" && !loopbackName(host):
		return nil, badBase("base URL " + api.RedactKeys(u.String()) + ": plain http is for loopback only, use https")
	}
	if port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return nil, badBase("base URL " + api.RedactKeys(u.String()) + ": a port is a number from 1 to 65535")
		}
		port = strconv.FormatUint(number, 10)
	}
	ip, err := netip.ParseAddr(host)
	if err == nil {
		if err := allowed(ip, u.Scheme == "http"); err != nil {
			return nil, err
		}
		host = ip.Unmap().String()
	}
	u.Host = strings.ToLower(host)
	if strings.Contains(host, ":") {
		u.Host = "[" + u.Host + "]"
	}
	if port != "" && port != defaultPort(u.Scheme) {
		u.Host += ":" + port
	}
	escaped := normalEscapes(strings.TrimRight(u.EscapedPath(), "/"))
	if escaped == "" {
		escaped = "/api/v1"
	}
	if u.Path, err = url.PathUnescape(escaped); err != nil {
		return nil, badBase("the base URL isn't a URL: want https://HOST/api/v1")
	}
	u.RawPath = escaped
	return u, nil
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// normalEscapes writes percent-encoded bytes with upper-case digits, and decodes letters, digits, -, ., _ and ~.
func normalEscapes(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		code := path[i : i+3]
		i += 2
		if plain, err := url.PathUnescape(code); err == nil && unreserved(plain[0]) {
			b.WriteString(plain)
		} else {
			b.WriteString(strings.ToUpper(code))
		}
	}
	return b.String()
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// loopbackName reports whether a host can only be this machine. The dialer checks its address as well.
func loopbackName(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
