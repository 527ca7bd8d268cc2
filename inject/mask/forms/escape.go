package forms

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escapeStyle describes how a quoted string is written with backslashes. A backslash is always escaped.
type escapeStyle struct {
	quoted  string // ASCII characters that get a backslash
	letters string // control characters with an escape of one letter, each followed by that letter
	coded   string // ASCII characters written like control characters

	control coder           // of other control characters; nil: unchanged
	escaped func(rune) bool // whether a character from DEL on is escaped; nil: none is
	wide    coder           // of escaped characters after DEL
	bytes   bool            // wide is applied to each byte of a character
	bracket bool            // the digits of \xXX are in brackets before another hexadecimal digit
	invalid coder           // of a byte that isn't UTF-8; nil: unchanged
}

// coder writes the code of a character or byte.
type coder func(b *strings.Builder, r rune)

// JSON encoders, which differ in what they escape beyond what JSON requires.
const jsonLetters = "\bb\ff\nn\rr\tt"

var jsonStyles = []escapeStyle{
	// JavaScript, Ruby, jq
	{quoted: `"`, letters: jsonLetters, control: u4, invalid: replaced},
	{quoted: `"`, letters: jsonLetters, control: upperU4, invalid: upperReplaced},
	// Go without HTML escapes
	{quoted: `"`, letters: jsonLetters, control: u4, escaped: separators, wide: u4, invalid: replaced},
	// Go's json.Marshal
	{quoted: `"`, letters: jsonLetters, coded: "<>&", control: u4, escaped: separators, wide: u4, invalid: replaced},
	{quoted: `"`, letters: jsonLetters, coded: "<>&", control: upperU4, escaped: separators, wide: upperU4, invalid: upperReplaced},
	// Java's Gson
	{quoted: `"`, letters: jsonLetters, coded: "<>&='", control: u4, escaped: separators, wide: u4, invalid: replaced},
	// Python's json.dumps
	{quoted: `"`, letters: jsonLetters, control: u4, escaped: everything, wide: u4, invalid: replaced},
	{quoted: `"`, letters: jsonLetters, control: upperU4, escaped: everything, wide: upperU4, invalid: upperReplaced},
	// PHP's json_encode, and with JSON_UNESCAPED_UNICODE
	{quoted: `"/`, letters: jsonLetters, control: u4, escaped: beyondDEL, wide: u4, invalid: replaced},
	{quoted: `"/`, letters: jsonLetters, control: u4, invalid: replaced},
	// .NET's System.Text.Json
	{letters: jsonLetters, coded: "<>&'+`\"", control: upperU4, escaped: everything, wide: upperU4, invalid: upperReplaced},
}

// moreJSONStyles change few texts in another way than jsonStyles.
var moreJSONStyles = []escapeStyle{
	// PHP's with JSON_UNESCAPED_SLASHES, Ruby's in ASCII
	{quoted: `"`, letters: jsonLetters, control: u4, escaped: beyondDEL, wide: u4, invalid: replaced},
	// PHP's with JSON_HEX_*
	{quoted: `/`, letters: jsonLetters, coded: `<>&'"`, control: upperU4, escaped: beyondDEL, wide: u4, invalid: replaced},
	// jq
	{quoted: `"`, letters: jsonLetters, control: u4, escaped: onlyDEL, wide: u4, invalid: replaced},
}

// Programming languages and shells.
const (
	reprLetters  = "\nn\rr\tt"
	cLetters     = "\aa\bb\ff\nn\rr\tt\vv"
	shellLetters = cLetters + "\x1bE"
	kshLetters   = "\aa\bb\ff\nn\rr\tt\x1bE"
)

var escapeStyles = []escapeStyle{
	// Python's repr of str, in single and in double quotes
	{quoted: `'`, letters: reprLetters, control: hex2, escaped: unprintable, wide: pythonCode, invalid: surrogateCode},
	{letters: reprLetters, control: hex2, escaped: unprintable, wide: pythonCode, invalid: surrogateCode},
	// ascii()
	{quoted: `'`, letters: reprLetters, control: hex2, escaped: everything, wide: pythonCode, invalid: surrogateCode},
	{letters: reprLetters, control: hex2, escaped: everything, wide: pythonCode, invalid: surrogateCode},
	// repr of bytes
	{quoted: `'`, letters: reprLetters, control: hex2, escaped: everything, wide: hex2, bytes: true, invalid: hex2},
	{letters: reprLetters, control: hex2, escaped: everything, wide: hex2, bytes: true, invalid: hex2},
	// Go's %q and %+q
	{quoted: `"`, letters: cLetters, control: hex2, escaped: unprintable, wide: goCode, invalid: hex2},
	{quoted: `"`, letters: cLetters, control: hex2, escaped: everything, wide: goCode, invalid: hex2},
	// JavaScript's util.inspect
	{quoted: `'`, letters: jsonLetters, control: upperHex2, escaped: moreControls, wide: upperHex2},
	{letters: jsonLetters, control: upperHex2, escaped: moreControls, wide: upperHex2},
	// Rust's {:?}
	{quoted: `"`, letters: reprLetters, control: braceCode, escaped: unprintable, wide: braceCode},
	// C and systemd
	{quoted: `"'`, letters: cLetters, control: octal, escaped: everything, wide: octal, bytes: true, invalid: octal},
	// $'...' of bash, in UTF-8 and in other locales
	{quoted: `'`, letters: shellLetters, control: octal, escaped: unprintableInC, wide: octal, bytes: true, invalid: octal},
	{quoted: `'`, letters: shellLetters, control: octal, escaped: everything, wide: octal, bytes: true, invalid: octal},
	// of ksh
	{quoted: `'`, letters: kshLetters, control: hex2, escaped: unprintable, wide: bracketCode, invalid: hex2, bracket: true},
	{quoted: `'`, letters: kshLetters, control: hex2, escaped: everything, wide: hex2, bytes: true, invalid: hex2, bracket: true},
	// of mksh
	{letters: shellLetters, coded: `'`, control: octal, escaped: beyondBMP, wide: octal, bytes: true, invalid: octal},
	{letters: shellLetters, coded: `'`, control: octal, escaped: everything, wide: c1Octal, bytes: true, invalid: c1Octal},
	// of zsh
	{quoted: `'`, letters: "\nn\tt", control: controlCode, escaped: separatorsDEL, wide: u4, invalid: metaCode},
	{quoted: `'`, letters: "\nn\tt", control: controlCode, escaped: everything, wide: metaCode, bytes: true, invalid: metaCode},
	// "..." of shells, and of systemd's env files
	{quoted: "\"$`"},
	// '...' of PHP, Perl and SQL
	{quoted: `'`},
	// PHP's addslashes, and MySQL
	{quoted: `'"`},
	{quoted: `'"`, letters: "\nn\rr\x1aZ"},
}

func everything(rune) bool      { return true }
func beyondDEL(r rune) bool     { return r > 0x7f }
func onlyDEL(r rune) bool       { return r == 0x7f }
func unprintable(r rune) bool   { return !strconv.IsPrint(r) }
func separators(r rune) bool    { return r == '\u2028' || r == '\u2029' }
func separatorsDEL(r rune) bool { return r == 0x7f || separators(r) }
func moreControls(r rune) bool  { return r <= 0x9f }
func beyondBMP(r rune) bool     { return r == 0x7f || r > 0xffff }

// unprintableInC is unprintable as the C library sees it, which prints all kinds of spaces and format characters.
func unprintableInC(r rune) bool {
	return !strconv.IsPrint(r) && !unicode.In(r, unicode.Zs, unicode.Cf)
}

// escapable reports whether one of escapeStyles changes a character.
func escapable(r rune) bool {
	return r < ' ' || r > '~' || r == '\\' || r == '"' || r == '\'' || r == '$' || r == '`'
}

func (s *formSet) addJSON(text string)     { s.addJSONs(text, jsonStyles) }
func (s *formSet) addMoreJSON(text string) { s.addJSONs(text, moreJSONStyles) }

func (s *formSet) addJSONs(text string, styles []escapeStyle) {
	for i := range styles {
		s.add(styles[i].escape(text))
	}
}

func (s *formSet) addEscaped(text string) {
	if !strings.ContainsFunc(text, escapable) {
		return
	}
	for i := range escapeStyles {
		s.addBroken(escapeStyles[i].escape(text))
	}
}

func (e *escapeStyle) escape(value string) string {
	if e.bracket {
		unbracketed := *e
		unbracketed.bracket = false
		return rewrite(value, e.special(), func(b *strings.Builder, rest string) int {
			_, size := utf8.DecodeRuneInString(rest)
			code := unbracketed.escape(rest[:size])
			if at := len(code) - len(`\x00`); at >= 0 && code[at:at+2] == `\x` && size < len(rest) && strings.IndexByte(upperHex+lowerHex, rest[size]) >= 0 {
				code = code[:at+2] + "[" + code[at+2:] + "]"
			}
			b.WriteString(code)
			return size
		})
	}
	return rewrite(value, e.special(), func(b *strings.Builder, rest string) int {
		r, size := utf8.DecodeRuneInString(rest)
		text := rest[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			e.invalid.write(b, rune(text[0]), text)
		case r >= utf8.RuneSelf && (e.escaped == nil || !e.escaped(r)):
			b.WriteString(text)
		case r >= utf8.RuneSelf && e.bytes:
			for _, c := range []byte(text) {
				e.wide(b, rune(c))
			}
		case r >= utf8.RuneSelf:
			e.wide(b, r)
		case r == '\\' || strings.Contains(e.quoted, text):
			b.WriteByte('\\')
			b.WriteString(text)
		case e.letter(text[0]) != 0:
			b.WriteByte('\\')
			b.WriteByte(e.letter(text[0]))
		case r < ' ' || strings.Contains(e.coded, text) || e.escaped != nil && e.escaped(r):
			e.control.write(b, r, text)
		default:
			b.WriteString(text)
		}
		return size
	})
}

// special returns the bytes that may be changed.
func (e *escapeStyle) special() byteSet {
	s := controls
	if e.escaped != nil || e.invalid != nil {
		s = s.or(beyondASCII).with("\x7f")
	}
	return s.with(`\`).with(e.quoted).with(e.coded)
}

// letter returns the letter that stands for a control character, or 0.
func (e *escapeStyle) letter(c byte) byte {
	for i := 0; i < len(e.letters); i += 2 {
		if e.letters[i] == c {
			return e.letters[i+1]
		}
	}
	return 0
}

// write writes the code of r, or text if there is no coder.
func (c coder) write(b *strings.Builder, r rune, text string) {
	if c == nil {
		b.WriteString(text)
		return
	}
	c(b, r)
}
