package visible_test

import (
	"testing"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/vault/visible"
)

func TestText(t *testing.T) {
	for _, s := range []string{"", "a b", "Schlüssel", "鍵", "clé (prod) – 2", "🔑", "\ufffd"} {
		if !visible.Text(s) || visible.Replace(s) != s {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{
		"a\x00", "a\nb", "\x1b[2J", "\x7f", "\u0085", // control characters
		"\u202eab", "\u2066a\u2069", "\u200fa", "\u061ca", // direction
		"a\u200bb", "a\u200db", "\ufeffa", "a\u00adb", "a\u2060b", "a\u034fb", "a\u3164b", "a\ufe0fb", "a\U000e0041b", // without a width
		"a\u2028b", "a\u2029b", "\xff",
	} {
		if visible.Text(s) {
			t.Errorf("%q is accepted", s)
		}
		if v := visible.Replace(s); !visible.Text(v) || !utf8.ValidString(v) || v == s {
			t.Errorf("%q is shown as %q", s, v)
		}
	}
}
