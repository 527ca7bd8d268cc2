package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

// The ports of the schemes.
const (
	httpPort  = 80
	httpsPort = 443
)

// destination is a host in its normal form and a port.
type destination struct {
	host string
	port int
}

var errPort = errors.New("the port is not a number from 1 to 65535")

// parseDestination parses HOST[:PORT] of a request. port is 0 if the text has none. Of IPv6 addresses, it wants brackets.
func parseDestination(text string) (to destination, err error) {
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && i > strings.IndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
		to.port, err = strconv.Atoi(port)
		if err != nil || to.port < 1 || to.port > 65535 || strconv.Itoa(to.port) != port {
			return destination{}, errPort
		}
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return destination{}, errPort
	}
	to.host, err = rule.Host(host)
	return to, err
}

// String is the destination as HOST:PORT.
func (d destination) String() string { return net.JoinHostPort(d.host, strconv.Itoa(d.port)) }

// authority is the destination as the Host header of a request: with the port if the client has sent one.
func (d destination) authority(withPort bool) string {
	switch {
	case withPort:
		return d.String()
	case strings.Contains(d.host, ":"):
		return "[" + d.host + "]"
	}
	return d.host
}

// keepEscapes makes u.EscapedPath return the path that the client sent, with escapes only for what is no valid part of a path. Of a path
// with such a character, net/url decodes everything: it would turn %2F into another segment.
func keepEscapes(u *url.URL) {
	if u.RawPath == "" || u.EscapedPath() == u.RawPath {
		return
	}
	var path strings.Builder
	for i := range len(u.RawPath) {
		// Source: RFC 3986, section 3.3. net/url takes brackets for valid, too.
		if c := u.RawPath[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("%/-._~!$&'()*+,;=:@[]", c) >= 0 {
			path.WriteByte(c)
		} else {
			fmt.Fprintf(&path, "%%%02X", c)
		}
	}
	u.RawPath = path.String()
}
