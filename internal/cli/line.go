package cli

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/Miosa-osa/miosa-env/internal/flags"
)

// OneLine makes text that may repeat foreign words safe for one line of a terminal.
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

// Quote quotes a word, shortened, for an error that repeats it.
func Quote(s string) string { return strconv.Quote(flags.Short(s)) }
