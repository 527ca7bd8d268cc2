package rule

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Lengths of a host and its labels, in bytes. Source: RFC 1035, section 2.3.4.
const (
	maxHost  = 253
	maxLabel = 63
)

var (
	errHost    = errors.New("the host is not a name or an IP address")
	errAddress = errors.New("the host is an IP address in an unusual form or with a zone")
)

// Host returns the normal form of a host, in which two names of the same host are equal: in lower case, without the dot
// at its end, international names in ASCII (UTS 46, as browsers and net/http convert them), IP addresses in their shortest
// form and without brackets, IPv4 addresses mapped to IPv6 as IPv4.
//
// It refuses what programs may understand differently: ports, user names, zones, percent-encoding, and numbers that
// some of them read as an IPv4 address, such as 0x7f.1 or 2130706433.
func Host(text string) (string, error) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok || !strings.Contains(inner, ":") {
			return "", errAddress
		}
		return address(inner)
	}
	if strings.Contains(text, ":") {
		return address(text)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		ascii, err := idna.Lookup.ToASCII(text)
		if err != nil || !utf8.ValidString(text) {
			return "", errHost // without the error of idna, which has the text
		}
		text = ascii
	}
	text = strings.TrimSuffix(strings.ToLower(text), ".")
	if len(text) > maxHost {
		return "", errHost
	}
	last := ""
	for last = range strings.SplitSeq(text, ".") {
		if !isLabel(last) {
			return "", errHost
		}
	}
	if isNumber(last) {
		return address(text)
	}
	return text, nil
}

// address returns the normal form of an IP address.
func address(text string) (string, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return "", errAddress
	}
	return a.Unmap().String(), nil
}

// isLabel reports whether s is a label of a host's name. Underscores occur in names on private networks.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isNumber reports whether some programs read a host whose last label is s as an IPv4 address. Source: the WHATWG's URL standard,
// "ends in a number".
func isNumber(s string) bool {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(s, "0123456789") == ""
}
