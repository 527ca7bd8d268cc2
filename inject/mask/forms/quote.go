package forms

import (
	"strings"
	"unicode/utf8"
)

// quoteStyle describes how a word with single quotes is written in single quotes: they are closed before a single quote and
// opened again after it.
type quoteStyle struct {
	single   string // a single quote
	before   string // before consecutive single quotes
	between  string // between them
	after    string // after them
	controls bool   // control characters are written $'\n' in the same way
	ascii    bool   // and so is what isn't ASCII
}

var quoteStyles = []quoteStyle{
	{single: `\'`, between: `''`},                 // bash, zsh's (qq)
	{single: `\'`},                                // zsh and mksh
	{single: `'`, before: `"`, after: `"`},        // dash and busybox
	{single: `"'"`, between: `''`},                // Python's shlex.quote
	{single: `\'`, between: `''`, controls: true}, // coreutils, in UTF-8 and in other locales
	{single: `\'`, between: `''`, controls: true, ascii: true},
}

func (s *formSet) addQuoted(text string) {
	for i := range quoteStyles {
		s.addBroken(quoteStyles[i].quote(text))
	}
	for i := range wordStyles {
		s.addBroken(wordStyles[i].escape(text))
	}
	s.addBroken(strings.ReplaceAll(text, `'`, `''`)) // SQL, YAML
	s.addBroken(strings.ReplaceAll(text, `"`, `""`)) // CSV
	s.add(unitEscape(text))
}

// wordStyles are for words without quotes around them.
var wordStyles = []escapeStyle{
	{quoted: " |&;()<>{}[]$`\"'*?!^,"}, // bash's printf %q
	// zsh's, in UTF-8 and in other locales
	{quoted: zshQuoted, control: dollarCode, escaped: unprintableInC, wide: dollarRune, invalid: dollarCode},
	{quoted: zshQuoted, control: dollarCode, escaped: everything, wide: dollarCode, bytes: true, invalid: dollarCode},
}

const zshQuoted = " |&;()<>{}[]$`\"'*?^#"

// quote returns the word without the quotes that enclose it.
func (q *quoteStyle) quote(value string) string {
	special := byteSet{}.with("'")
	if q.controls {
		special = special.or(controls).or(beyondASCII).with("\x7f")
	}
	quoted := rewrite(value, special, func(b *strings.Builder, rest string) int {
		kind, run := q.run(rest)
		switch kind {
		case asItIs:
			b.WriteString(run)
		case aQuote:
			b.WriteString("'" + q.before + strings.Repeat(q.between+q.single, len(run))[len(q.between):] + q.after + "'")
		case aControl:
			b.WriteString("'$'" + octalCodes.escape(run) + "''")
		}
		return len(run)
	})
	// At an end of the word, nothing is opened or closed.
	return strings.TrimSuffix(strings.TrimPrefix(quoted, "'"), "'")
}

// Kinds of characters in single quotes.
const (
	asItIs = iota
	aQuote
	aControl
)

// octalCodes is used in $'...' by coreutils.
var octalCodes = escapeStyle{letters: cLetters, control: octal, escaped: everything, wide: octal, bytes: true, invalid: octal}

func (q *quoteStyle) kind(r rune) int {
	switch {
	case r == '\'':
		return aQuote
	case q.controls && (r < ' ' || r == utf8.RuneError || r >= 0x7f && (q.ascii || unprintableInC(r))):
		return aControl
	}
	return asItIs
}

// run returns the first characters of value that are of the same kind.
func (q *quoteStyle) run(value string) (kind int, run string) {
	first, _ := utf8.DecodeRuneInString(value)
	kind = q.kind(first)
	end := strings.IndexFunc(value, func(r rune) bool { return q.kind(r) != kind })
	if end < 0 {
		end = len(value)
	}
	return kind, value[:end]
}

// dollarCode writes a byte as $'\n' or $'\001'.
func dollarCode(b *strings.Builder, r rune) {
	b.WriteString("$'" + octalCodes.escape(string([]byte{byte(r)})) + "'")
}

// dollarRune writes the bytes of a character in that way.
func dollarRune(b *strings.Builder, r rune) {
	b.WriteString("$'" + octalCodes.escape(string(r)) + "'")
}

// unitEscape does what systemd-escape does.
func unitEscape(text string) string {
	var b strings.Builder
	for i, c := range []byte(text) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c == ':' || c == '_' || c == '.' && i > 0 || c != '-' && plain(text[i:i+1]):
			b.WriteByte(c)
		default:
			hex2(&b, rune(c))
		}
	}
	return b.String()
}
