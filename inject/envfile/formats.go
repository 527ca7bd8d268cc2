package envfile

import (
	"bufio"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/inject/environ"
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

// maxDockerLine is the maximum length of a line in bytes, without its end. Docker rejects a file with a longer line.
const maxDockerLine = bufio.MaxScanTokenSize - 1

// spellDocker writes NAME=value for docker's --env-file. Docker takes values literally up to the end of the line, without
// quotes, escapes or expansion, so line breaks and a final carriage return can't be written.
// Source: github.com/docker/cli, pkg/kvfile.
func spellDocker(t *text, name, value string) string {
	switch {
	case strings.ContainsRune(value, '\n'):
		return "its value has several lines"
	case strings.HasSuffix(value, "\r"):
		return "its value ends in a carriage return, which docker drops"
	case len(name)+len("=")+len(value) > maxDockerLine:
		return "with its name it is longer than the " + strconv.Itoa(maxDockerLine) + " bytes that docker reads of a line"
	}
	t.add(name, "=", value, "\n")
	return ""
}

// spellSystemd writes NAME="value" for systemd's EnvironmentFile=. In double quotes systemd expands nothing and unescapes
// four characters; line breaks need no escape.
//
// Two kinds of values aren't written: systemd drops those with one of Unicode's 66 noncharacters, and doesn't start a
// service with a variable longer than execve accepts.
// Source: systemd.exec(5), src/basic/env-file.c and utf8.c.
func spellSystemd(t *text, name, value string) string {
	if longest := environ.MaxEntry(); len(name)+len("=")+len(value) > longest {
		return "with its name it is longer than the " + strconv.Itoa(longest) + " bytes that a service can be given"
	}
	if strings.ContainsFunc(value, noncharacter) {
		return "its value holds a Unicode noncharacter, for which systemd drops it"
	}
	t.add(name, `="`)
	for {
		at := strings.IndexAny(value, "\"\\`$")
		if at < 0 {
			t.add(value, "\"\n")
			return ""
		}
		t.add(value[:at], `\`, value[at:at+1])
		value = value[at+1:]
	}
}

// noncharacter reports whether r is a code point that Unicode will never assign.
func noncharacter(r rune) bool { return 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe }

// spellShell writes an assignment in single quotes, in which nothing is expanded. It is exact in dash, bash, busybox, ksh
// and zsh.
func spellShell(t *text, name, value string) string {
	t.add("export ", name, "='")
	for {
		before, after, found := strings.Cut(value, "'")
		t.add(before)
		if !found {
			t.add("'\n")
			return ""
		}
		t.add(`'\''`)
		value = after
	}
}
