package rule

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// Path is a pattern of paths.
type Path struct {
	pattern *regexp.Regexp
	loose   *regexp.Regexp // for MayMatch
}

// maxDecodings is how often a path is decoded to find how servers might read it.
const maxDecodings = 3

var errPath = errors.New("a path starts with a slash, is percent-encoded and has no query")

// ParsePath returns the pattern of a text in which "*" matches within a segment and "**" any text. A "*" that is a whole
// segment matches no empty one; an encoded one is a character like others.
func ParsePath(text string) (Path, error) {
	if !api.ValidEgressPath(text) {
		return Path{}, errPath
	}
	pattern, err := regexp.Compile(expression(text, `[^/\x00]`, encodedSlash))
	if err != nil {
		return Path{}, errPath
	}
	loose, err := regexp.Compile(`(?i)` + expression(text, `[^/]`, "/"))
	if err != nil {
		return Path{}, errPath
	}
	return Path{pattern, loose}, nil
}

// encodedSlash is what api.DecodePath makes of an encoded slash.
const encodedSlash = "\x00"

// expression is the regular expression of a pattern. A "*" matches texts of the characters of class; slash stands for an encoded slash.
func expression(text, class, slash string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(text); {
		size := 1
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			size = 2
		case rest[0] == '*' && text[i-1] == '/' && (len(rest) == 1 || rest[1] == '/'):
			b.WriteString(class + `+`)
		case rest[0] == '*':
			b.WriteString(class + `*`)
		default:
			literal, _, _ := strings.Cut(rest, "*")
			decoded, _ := api.DecodePath(literal) // a part of what could be decoded
			b.WriteString(regexp.QuoteMeta(strings.ReplaceAll(decoded, encodedSlash, slash)))
			size = len(literal)
		}
		i += size
	}
	b.WriteString(`\z`)
	return b.String()
}

// Matches reports whether a path, percent-encoded as in a request, matches the pattern. No pattern matches a path that servers may
// read as another one: with the segments "." or "..", also encoded, encoded twice, or before a semicolon; with a backslash; or with an
// encoded slash at a "*".
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

// MayMatch reports whether a path matches the pattern, or servers may read it as one that does: a path that Matches refuses, or in
// another case, with several slashes for one, without parameters after a semicolon, with a slash for an encoded one, or decoded again.
func (p Path) MayMatch(path string) bool {
	decoded, ok := api.DecodePath(path)
	if !ok || !strings.HasPrefix(path, "/") || ambiguous(path) || p.pattern.MatchString(decoded) || p.loose.MatchString(decoded) {
		return true
	}
	for range maxDecodings + 1 {
		for _, form := range []string{path, withoutParameters(path)} {
			if p.loose.MatchString(form) || p.loose.MatchString(slashes.ReplaceAllString(form, "/")) {
				return true
			}
		}
		path = unescape(path)
	}
	return false
}

var slashes = regexp.MustCompile("/+")

// withoutParameters is a path without what follows a semicolon in its segments.
func withoutParameters(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// ambiguous reports whether servers may read a path as another one.
func ambiguous(path string) bool {
	for range maxDecodings {
		if strings.Contains(path, `\`) {
			return true
		}
		for segment := range strings.SplitSeq(withoutParameters(path), "/") {
			if segment == "." || segment == ".." {
				return true
			}
		}
		decoded := unescape(path)
		if decoded == path {
			return false
		}
		path = decoded
	}
	return true
}

// unescape percent-decodes a path. It leaves invalid escapes as they are.
func unescape(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	return escape.ReplaceAllStringFunc(path, func(text string) string {
		decoded, _ := url.PathUnescape(text) // it is valid
		return decoded
	})
}

var escape = regexp.MustCompile("%[0-9A-Fa-f]{2}")
