package cli

import (
	"strconv"
	"strings"
	"unicode"
)

// OneLine makes text from elsewhere safe for one line of a terminal.
func OneLine(s string) string {
	var out strings.Builder
	for _, r := range strings.TrimRight(s, "\n") {
		if unicode.IsPrint(r) {
			out.WriteRune(r)
		} else {
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return out.String()
}

// Quote quotes a word for an error, shortened to 80 bytes.
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}
