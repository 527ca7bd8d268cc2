// Package visible checks the text of names, ids and filters, which people and logs show.
package visible

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text reports whether s is UTF-8 text in which everything is visible: no control characters, none that change the
// direction of text, none without a width, and no line separators. So names that look the same are usually the same, and
// no name hides or reorders the text after it.
func Text(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, invisible)
		}
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// Replace returns s with a replacement character for each one that Text refuses.
func Replace(s string) string {
	if Text(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if invisible(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

func invisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector,
		unicode.Other_Default_Ignorable_Code_Point)
}
