package rule

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// Path is a pattern of paths.
type Path struct{ pattern *regexp.Regexp }

// maxDecodings is how often a path is decoded to find what a server might make of it.
const maxDecodings = 3

var errPath = errors.New("a path starts with a slash, is percent-encoded and has no query")

// ParsePath returns the pattern of a text in which "*" matches within a segment and "**" any text. A "*" that is a whole
// segment matches no empty one; an encoded one is a character like others.
func ParsePath(text string) (Path, error) {
	if !api.ValidEgressPath(text) {
		return Path{}, errPath
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(text); {
		size := 1
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			size = 2
		case rest[0] == '*' && text[i-1] == '/' && (len(rest) == 1 || rest[1] == '/'):
			b.WriteString(`[^/\x00]+`)
		case rest[0] == '*':
			b.WriteString(`[^/\x00]*`)
		default:
			literal, _, _ := strings.Cut(rest, "*")
			decoded, _ := api.DecodePath(literal) // a part of what could be decoded
			b.WriteString(regexp.QuoteMeta(decoded))
			size = len(literal)
		}
		i += size
	}
	b.WriteString(`\z`)
	pattern, err := regexp.Compile(b.String())
	if err != nil {
		return Path{}, errPath
	}
	return Path{pattern}, nil
}

// Matches reports whether a path, percent-encoded as in a request, has the pattern. No pattern matches a path of which
// servers may make another one: with the segments "." or "..", also encoded, encoded twice, or before a semicolon; with
// a backslash; or with an encoded slash at a "*".
func (p Path) Matches(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	decoded, ok := api.DecodePath(path)
	if !ok || ambiguous(path) {
		return false
	}
	return p.pattern.MatchString(decoded)
}

// ambiguous reports whether servers may make another path of a path.
func ambiguous(path string) bool {
	for range maxDecodings {
		if strings.Contains(path, `\`) {
			return true
		}
		for segment := range strings.SplitSeq(path, "/") {
			segment, _, _ = strings.Cut(segment, ";")
			if segment == "." || segment == ".." {
				return true
			}
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			return false
		}
		path = decoded
	}
	return true
}
