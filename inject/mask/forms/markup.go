package forms

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// markupStyle describes how an encoder of HTML or XML writes text, besides &amp; &lt; and &gt;.
type markupStyle struct {
	quote, apostrophe string // "" is the character itself
	tab, lf, cr       string
	more              bool   // / ` and = are written &#x2F; &#x60; and &#x3D;
	wide              string // start of the code of a character above 126, "&#" or "&#x"; "" is the character itself
}

var markupStyles = []markupStyle{
	{},                                      // the text of an element
	{quote: "&quot;"},                       // browsers' attributes
	{quote: "&#34;", apostrophe: "&#39;"},   // Go's html, Python's markupsafe
	{quote: "&quot;", apostrophe: "&#39;"},  // JavaScript's lodash, Ruby, .NET, Spring
	{quote: "&quot;", apostrophe: "&#x27;"}, // Python's html.escape
	{quote: "&quot;", apostrophe: "&#039;"}, // PHP's htmlspecialchars
	{quote: "&quot;", apostrophe: "&apos;"}, // XML, and PHP with ENT_XML1
	{quote: "&#34;", apostrophe: "&#39;", tab: "&#x9;", lf: "&#xA;", cr: "&#xD;"}, // Go's encoding/xml
	{cr: "&#13;"}, // libxml2, Java: text
	{quote: "&quot;", tab: "&#9;", lf: "&#10;", cr: "&#13;"},  // and attributes
	{quote: "&quot;", tab: "&#09;", lf: "&#10;", cr: "&#13;"}, // Python's ElementTree
	{quote: "&quot;", apostrophe: "&#39;", more: true},        // mustache.js
	{quote: "&quot;", apostrophe: "&#x27;", more: true},       // handlebars.js
	{wide: "&#"}, {quote: "&quot;", wide: "&#"}, // in ASCII: Python's xmlcharrefreplace
	{wide: "&#x"}, {quote: "&quot;", wide: "&#x"}, // libxml2
}

func (s *formSet) addMarkup(text string) {
	for i := range markupStyles {
		s.addBroken(markupStyles[i].escape(text))
	}
}

func (m *markupStyle) escape(value string) string {
	return rewrite(value, m.special(), func(b *strings.Builder, rest string) int {
		r, size := utf8.DecodeRuneInString(rest)
		if code := m.code(r); code != "" {
			b.WriteString(code)
		} else {
			b.WriteString(rest[:size])
		}
		return size
	})
}

// special returns the bytes that may be changed.
func (m *markupStyle) special() byteSet {
	s := controls.with("&<>\"'")
	if m.more {
		s = s.with("/`=")
	}
	if m.wide != "" {
		s = s.or(beyondASCII).with("\x7f")
	}
	return s
}

// code returns the code of a character; "": the character itself.
func (m *markupStyle) code(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '"':
		return m.quote
	case '\'':
		return m.apostrophe
	case '\t':
		return m.tab
	case '\n':
		return m.lf
	case '\r':
		return m.cr
	case '/', '`', '=':
		if m.more {
			return "&#x" + strings.ToUpper(strconv.FormatInt(int64(r), 16)) + ";"
		}
	case utf8.RuneError:
		return ""
	}
	switch {
	case r < 0x7f || m.wide == "":
		return ""
	case m.wide == "&#":
		return m.wide + strconv.Itoa(int(r)) + ";"
	}
	return m.wide + strings.ToUpper(strconv.FormatInt(int64(r), 16)) + ";"
}
