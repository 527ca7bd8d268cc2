package inject

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// spellJSON writes a member of an object, with the same escapes as encoding/json, which leaves copies
// of what it encodes in buffers that it keeps.
func spellJSON(dst []byte, name, value string) ([]byte, string) {
	dst = put(dst, "  \"", name, "\": \"")
	for i := 0; i < len(value); {
		escape, width := escapeJSON(value[i:])
		if escape == "" {
			dst = append(dst, value[i:i+width]...)
		} else {
			dst = append(dst, escape...)
		}
		i += width
	}
	return append(dst, '"'), ""
}

func roomJSON(value string) int {
	room := len(beforeJSON(false)) + len("  \"\": \"\"")
	for i := 0; i < len(value); {
		escape, width := escapeJSON(value[i:])
		room += max(0, len(escape)-width)
		i += width
	}
	return room
}

// jsonControls gives the escapes of the characters before the space. They are made at the first use: a
// command's start has none.
var jsonControls = sync.OnceValue(func() (escapes [' ']string) {
	const hex = "0123456789abcdef"
	for c := range escapes {
		escapes[c] = `\u00` + hex[c>>4:c>>4+1] + hex[c&15:c&15+1]
	}
	for c, letter := range map[byte]string{'\b': "b", '\f': "f", '\n': "n", '\r': "r", '\t': "t"} {
		escapes[c] = `\` + letter
	}
	return escapes
})

// escapeJSON gives the escape of the first character of text, empty if it needs none, and the
// character's length in bytes. U+2028 and U+2029 end a line to JavaScript.
func escapeJSON(text string) (escape string, width int) {
	switch c := text[0]; {
	case c < ' ':
		return jsonControls()[c], 1
	case c == '"':
		return `\"`, 1
	case c == '\\':
		return `\\`, 1
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

// beforeJSON is the brace or comma that a member needs before it.
func beforeJSON(first bool) string {
	if first {
		return "{\n"
	}
	return ",\n"
}

func closeJSON(members int) string {
	if members == 0 {
		return "{}\n"
	}
	return "\n}\n"
}
