package sign

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// canonical holds the parts of a canonical request. Clients differ in how they write some of them; where they have
// several texts, the signature tells which one the client has used.
type canonical struct {
	hosts    []string
	paths    []string
	queries  []string
	payloads []string
}

func (s *AWS) canonical(r *http.Request, body []byte) canonical {
	c := canonical{hosts: []string{r.Host}}
	if host, ok := strings.CutSuffix(r.Host, ":443"); ok {
		c.hosts = append(c.hosts, host)
	}

	raw := r.URL.EscapedPath()
	if raw == "" {
		raw = "/"
	}
	clean := path.Clean(raw)
	if strings.HasSuffix(raw, "/") && clean != "/" {
		clean += "/"
	}
	decoded := raw
	if text, err := url.PathUnescape(raw); err == nil {
		decoded = text
	}
	// S3 signs the path as it is, other services the path encoded once more and without dot segments. Indices must not
	// depend on the text, since a placeholder in the path may be swapped between FindKey and Sign.
	c.paths = []string{raw, encode(clean, true), encode(raw, true), encode(decoded, true), clean}

	var pairs []string
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if pair != "" && !(s.presigned && strings.HasPrefix(pair, querySignature+"=")) {
			pairs = append(pairs, pair)
		}
	}
	// Encoded again, with a plus sign as a space and as itself, and as they are.
	c.queries = []string{
		query(pairs, func(t string) string { return encode(unescape(strings.ReplaceAll(t, "+", " ")), false) }),
		query(pairs, func(t string) string { return encode(unescape(t), false) }),
		query(pairs, func(t string) string { return t }),
	}

	switch {
	case s.payload != "":
		c.payloads = []string{s.payload}
	case s.presigned:
		c.payloads = []string{unsignedPayload, hashHex(nil)}
	default:
		c.payloads = []string{hashHex(body)}
	}
	return c
}

// stringToSign returns AWS's "string to sign" of a request in one form.
func (s *AWS) stringToSign(r *http.Request, c canonical, f form) string {
	h := sha256.New()
	add := func(texts ...string) {
		for _, t := range texts {
			h.Write([]byte(t))
		}
	}
	add(r.Method, "\n", c.paths[f.path], "\n", c.queries[f.query], "\n")
	for _, name := range s.signed {
		add(name, ":", headerText(r, c.hosts[f.host], name), "\n")
	}
	add("\n", strings.Join(s.signed, ";"), "\n", c.payloads[f.payload])
	return string(s.algorithm) + "\n" + s.date + "\n" + s.scope + "\n" + hex.EncodeToString(h.Sum(nil))
}

// headerText returns a header's canonical text, also of those that net/http doesn't keep in r.Header.
func headerText(r *http.Request, host, name string) string {
	switch values := r.Header.Values(name); {
	case name == "host":
		return host
	case len(values) > 0:
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' || c == '\t' }), " ")
		}
		return strings.Join(texts, ",")
	case name == "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	case name == "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	return ""
}

// query returns parameters sorted by name and value, both of which are rewritten first.
func query(pairs []string, rewrite func(string) string) string {
	type parameter struct{ name, value string }
	list := make([]parameter, len(pairs))
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		list[i] = parameter{rewrite(name), rewrite(value)}
	}
	slices.SortStableFunc(list, func(a, b parameter) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// unescape percent-decodes text if that is possible.
func unescape(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}

// encode percent-encodes all bytes but letters, digits and -._~, and slashes if they are kept.
func encode(text string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func hashHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
