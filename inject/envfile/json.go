package envfile

import (
	"strings"
	"unicode/utf8"
)

// spellJSON writes a member of an object, with the same escapes as encoding/json, which keeps buffers with copies of what
// it encodes.
func spellJSON(t *text, name, value string) string {
	separator := ",\n"
	if t.size == 0 {
		separator = "{\n"
	}
	t.add(separator, "  \"", name, "\": \"")
	for i := 0; i < len(value); {
		escape, width := escapeJSON(value[i:])
		if escape == "" {
			escape = value[i : i+width]
		}
		t.add(escape)
		i += width
	}
	t.add(`"`)
	return ""
}

// endJSON ends an object.
func endJSON(t *text) {
	if t.size == 0 {
		t.add("{")
	} else {
		t.add("\n")
	}
	t.add("}\n")
}

// escapeJSON returns the escape of the first character of text, empty if it needs none, and the character's length in
// bytes. U+2028 and U+2029 end a line in JavaScript.
func escapeJSON(text string) (escape string, width int) {
	const hex = "0123456789abcdef"
	switch c := text[0]; {
	case c == '"':
		return `\"`, 1
	case c == '\\':
		return `\\`, 1
	case c < ' ':
		if at := strings.IndexByte("\b\f\n\r\t", c); at >= 0 {
			return `\b\f\n\r\t`[2*at : 2*at+2], 1
		}
		return string([]byte{'\\', 'u', '0', '0', hex[c>>4], hex[c&15]}), 1
	case c < utf8.RuneSelf:
		return "", 1
	case strings.HasPrefix(text, "\u2028"):
		return `\u2028`, 3
	case strings.HasPrefix(text, "\u2029"):
		return `\u2029`, 3
	}
	_, width = utf8.DecodeRuneInString(text)
	return "", width
}
