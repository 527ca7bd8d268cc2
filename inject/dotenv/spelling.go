package dotenv

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// spelling is how an assignment is written.
type spelling struct {
	quote byte      // ', " or 0
	raw   api.Value // what is between the quotes; without quotes, what is before the comment

	export bool // before the name
	before bool // white space before the =
	after  bool // white space after it, and a value
	hash   byte // the blank before the comment; 0: there is none
	hashes bool // the comment has another # after white space
	crlf   bool // the line ends with CR LF
	bom    bool // the first assignment of a file with a byte order mark
	json   bool // it is a member of a JSON object instead
}

// comments records the comment that begins at an offset of a line.
func (s *spelling) comments(line []byte, at int) {
	s.hash = ' '
	if at > 0 {
		s.hash = line[at-1]
	}
	s.hashes = hashAfter(string(line[at+1:]), " \t"+otherSpace)
}

// assignment is a variable with its raw value, as the rules see it.
type assignment struct {
	*Variable
	raw string
}

func (a assignment) bare() bool { return a.spelling.quote == 0 }

// otherSpace is what Go's readers count as white space besides blanks and line ends.
const otherSpace = "\v\f\u0085\u00a0"

func isOtherSpace(r rune) bool { return strings.ContainsRune(otherSpace, r) }

// isSpaceJS reports whether JavaScript's trim removes r.
func isSpaceJS(r rune) bool { return r == '\ufeff' || unicode.IsSpace(r) && r != '\u0085' }

// hashAfter reports whether s has a # after one of the characters in space.
func hashAfter(s, space string) bool {
	for i := range len(s) {
		if s[i] == '#' && i > 0 {
			if r, _ := utf8.DecodeLastRuneInString(s[:i]); strings.ContainsRune(space, r) {
				return true
			}
		}
	}
	return false
}

func beginsOrEnds(s string, is func(rune) bool) bool {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return s != "" && (is(first) || is(last))
}

// escapes reports whether, in double quotes, a backslash precedes one of chars.
func (a assignment) escapes(chars string) bool {
	return a.anyEscape(func(c byte) bool { return strings.IndexByte(chars, c) >= 0 })
}

// escapesBeside reports whether, in double quotes, a backslash precedes a character that isn't in chars.
func (a assignment) escapesBeside(chars string) bool {
	return a.anyEscape(func(c byte) bool { return strings.IndexByte(chars, c) < 0 })
}

func (a assignment) anyEscape(is func(byte) bool) bool {
	for i := 0; a.spelling.quote == '"' && i+1 < len(a.raw); i++ {
		if a.raw[i] == '\\' {
			if i++; is(a.raw[i]) {
				return true
			}
		}
	}
	return false
}

// escapedAt reports whether an odd number of backslashes precedes offset at.
func escapedAt(raw string, at int) bool {
	before := raw[:at]
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}

func hasUnescaped(raw string, c byte) bool {
	for i := range len(raw) {
		if raw[i] == c && !escapedAt(raw, i) {
			return true
		}
	}
	return false
}

// expands reports whether an unescaped $ is followed by something that by says a reader expands.
func (a assignment) expands(by func(after string) bool) bool {
	for i := range len(a.raw) {
		if a.raw[i] == '$' && (a.bare() || a.spelling.quote == '"' && !escapedAt(a.raw, i)) && by(a.raw[i+1:]) {
			return true
		}
	}
	return false
}
