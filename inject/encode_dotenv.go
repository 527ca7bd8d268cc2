package inject

import (
	"strings"
	"unicode"
)

// spellDotenv writes NAME=value so that godotenv, npm's dotenv and node --env-file (20.13 and later)
// read back the same bytes. They agree on little: none of them unescapes the same things, two expand
// or drop what the third keeps. So there are five spellings, the first that carries a value is taken,
// and where none does the reason is returned and nothing written.
//
//  1. bare: a word of harmless characters, which docker and systemd read too.
//  2. 'single quotes': nothing in them means anything. Not for a value with a quote or line breaks, or
//     one that ends in a backslash, which godotenv takes for an escape of the closing quote.
//  3. "double quotes", a line break written \n: for values with a single quote or line breaks. Not with
//     a double quote or backslash (readers disagree on escapes), nor what godotenv or a shell expands.
//     On one line on purpose: a reader that goes line by line finds no second variable in it.
//  4. 'single quotes' over several lines: for what has line breaks and can't stand in double quotes,
//     as long as no line of it could be taken for an assignment.
//  5. bare again, quotes and all: for what is left on one line, values with both quotes mostly. To a
//     shell it must be one word; a quote that is left open is closed in a comment, which readers drop.
//
// Whichever is taken, no reader named here finds another variable in the value, and a shell that
// sources the file runs nothing of it.
func spellDotenv(dst []byte, name, value string) ([]byte, string) {
	lines := strings.ContainsRune(value, '\n')
	switch {
	case strings.ContainsRune(value, '\r'):
		return dst, "its value holds a carriage return, which readers of .env files drop or turn into a line end"
	case value != "" && !strings.ContainsFunc(value, notBare):
		return put(dst, name, "=", value, "\n"), ""
	case !lines && singleQuotable(value):
		return put(dst, name, "='", value, "'\n"), ""
	case doubleQuotable(value):
		dst = put(dst, name, `="`)
		for {
			before, after, found := strings.Cut(value, "\n")
			dst = append(dst, before...)
			if !found {
				return append(dst, "\"\n"...), ""
			}
			dst = append(dst, `\n`...)
			value = after
		}
	case lines && !singleQuotable(value):
		return dst, "its value has several lines and quotes or backslashes that readers of .env files disagree on"
	case lines && assignsSomewhere(value):
		return dst, "a line of its value looks like another variable"
	case lines:
		return put(dst, name, "='", value, "'\n"), ""
	}
	comment, ok := bareQuotable(value)
	if !ok {
		return dst, "its value mixes quotes with characters that readers of .env files disagree on"
	}
	return put(dst, name, "=", value, comment, "\n"), ""
}

func roomDotenv(value string) int { return len("=''\n #'") + strings.Count(value, "\n") }

// notBare tells whether a character needs quotes somewhere.
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

// doubleQuotable: besides what readers unescape, a backtick and what may follow a $ would be run or
// expanded by godotenv or by a shell.
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

// expands tells whether a $ before c means something to godotenv, or more than a lookup to a shell.
func expands(c byte) bool {
	return c == '_' || c == '(' || c == '{' || c == '[' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// assignsSomewhere tells whether a reader that goes line by line would take a line of value, after the
// first, for a variable.
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

// bareQuotable tells whether a value with quotes in it can stand without quotes around it, and what
// must follow it on its line. No reader may take its beginning for a quote or a part of it for a
// comment, and a shell must find it to be one word with nothing in it to run: spaces, operators and
// backticks only where its quotes happen to cover them.
func bareQuotable(value string) (comment string, ok bool) {
	if value == "" || strings.ContainsRune("\"'` ", rune(value[0])) || strings.HasSuffix(value, " ") {
		return "", false
	}
	if strings.HasPrefix(value, byteOrderMark) || strings.HasSuffix(value, byteOrderMark) {
		return "", false // JavaScript's trim takes it for a space, as unicode.IsSpace doesn't
	}
	var quote rune // the one that is open
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
	case escaped: // else the shell would join the next line
		return " #", true
	}
	return "", true
}
