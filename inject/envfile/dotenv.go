package envfile

import (
	"strings"
	"unicode"
)

// spellDotenv writes NAME=value so that godotenv, npm's dotenv and node --env-file (20.13 and later) read the same bytes.
// These unescape different characters, and expand or drop different ones. So there are five spellings, of which the first
// that represents the value is used:
//
//  1. bare: only harmless characters, which docker and systemd read too.
//  2. 'single quotes': everything is literal. Not for values with a single quote or line breaks, or that end in a
//     backslash, with which godotenv escapes the closing quote.
//  3. "double quotes", with line breaks written \n: for values with a single quote or line breaks. Not for a double quote
//     or backslash (readers disagree on escapes), nor for what godotenv or a shell expands. It is on one line so that a
//     reader that reads line by line doesn't find a second variable in it.
//  4. 'single quotes' over several lines: for line breaks that can't be in double quotes, unless a line could be read as
//     an assignment.
//  5. bare, with quotes: for other values on one line, mostly with both kinds of quotes. It must be one word to a shell. A
//     quote that is left open is closed in a comment, which readers drop.
//
// With each spelling, none of these readers finds another variable in the value, and a shell that sources the file runs
// nothing of it.
func spellDotenv(t *text, name, value string) string {
	lines := strings.ContainsRune(value, '\n')
	switch {
	case strings.ContainsRune(value, '\r'):
		return "its value holds a carriage return, which readers of .env files drop or turn into a line end"
	case value != "" && !strings.ContainsFunc(value, notBare):
		t.add(name, "=", value, "\n")
		return ""
	case doubleQuotable(value) && (lines || !singleQuotable(value)):
		t.add(name, `="`)
		for line, rest, more := strings.Cut(value, "\n"); ; line, rest, more = strings.Cut(rest, "\n") {
			t.add(line)
			if !more {
				t.add("\"\n")
				return ""
			}
			t.add(`\n`)
		}
	case lines && !singleQuotable(value):
		return "its value has several lines and quotes or backslashes that readers of .env files disagree on"
	case lines && assignsSomewhere(value):
		return "a line of its value looks like another variable"
	case singleQuotable(value):
		t.add(name, "='", value, "'\n")
		return ""
	}
	comment, ok := bareQuotable(value)
	if !ok {
		return "its value mixes quotes with characters that readers of .env files disagree on"
	}
	t.add(name, "=", value, comment, "\n")
	return ""
}

// notBare reports whether some reader needs quotes around r.
func notBare(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("_-+./:=@%,", r)
}

func singleQuotable(value string) bool {
	return !strings.ContainsRune(value, '\'') && !strings.HasSuffix(value, `\`)
}

// doubleQuotable reports whether value contains nothing that readers unescape in double quotes, and nothing that godotenv
// or a shell expands or runs there.
func doubleQuotable(value string) bool {
	for i := range len(value) {
		switch value[i] {
		case '"', '\\', '`':
			return false
		case '$':
			if i+1 < len(value) && expands(value[i+1]) {
				return false
			}
		}
	}
	return true
}

// expands reports whether godotenv expands a $ before c, or a shell does more than look up a variable.
func expands(c byte) bool {
	return c == '_' || c == '(' || c == '{' || c == '[' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// assignsSomewhere reports whether a reader that reads line by line would take a line of value after the first for a
// variable.
func assignsSomewhere(value string) bool {
	_, rest, _ := strings.Cut(value, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		name, _, found := strings.Cut(line, "=")
		if !found {
			continue
		}
		name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "export "))
		if name != "" && !strings.ContainsFunc(name, func(r rune) bool {
			return r != '_' && r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
		}) {
			return true
		}
	}
	return false
}

const byteOrderMark = "\ufeff"

// bareQuotable reports whether a value that contains quotes can be written without quotes around it, and returns the
// comment that must follow it. No reader may take its start for a quote or a part of it for a comment, and to a shell it
// must be one word in which nothing is run: spaces, operators and backticks are allowed only inside its quotes.
func bareQuotable(value string) (comment string, ok bool) {
	if value == "" || strings.ContainsRune("\"'` ", rune(value[0])) || strings.HasSuffix(value, " ") {
		return "", false
	}
	if strings.HasPrefix(value, byteOrderMark) || strings.HasSuffix(value, byteOrderMark) {
		return "", false // a space to JavaScript's trim, but not to unicode.IsSpace
	}
	var quote rune // the open one
	escaped := false
	for _, r := range value {
		switch {
		case r == '#', r == '$', r != ' ' && unicode.IsSpace(r), unicode.IsControl(r), r == '`' && quote != '\'':
			return "", false
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case strings.ContainsRune(" ;&|<>()", r):
			return "", false
		}
	}
	switch {
	case quote != 0:
		return " #" + string(quote), true
	case escaped: // without a comment, a shell would join the next line
		return " #", true
	}
	return "", true
}
