package program

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Cell returns text on one line, without control characters; "-" if it is empty.
func Cell(text string) string {
	if text == "" {
		return "-"
	}
	return cli.OneLine(text)
}

// Counted returns "1 binding" or "2 bindings" for the noun "binding".
func Counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Table is a table for a terminal. All rows have the same number of cells.
type Table struct {
	Head []string // column titles; nil: none
	Rows [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints the table, without the columns that are empty in every row and without keys.
func (t *Table) Write(w io.Writer) error {
	used := map[int]bool{}
	for _, row := range t.Rows {
		for i, text := range row {
			used[i] = used[i] || text != ""
		}
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		var kept []string
		for i, text := range row {
			if used[i] {
				kept = append(kept, api.RedactKeys(Cell(text)))
			}
		}
		if kept != nil {
			fmt.Fprintln(out, strings.Join(kept, "\t"))
		}
	}
	return out.Flush()
}

// Ago returns how long ago a time was, in the largest unit that fits; its date if that is more than 60 days, or if it is
// in the future.
func Ago(since time.Duration, at time.Time) string {
	for _, step := range []struct {
		below, unit time.Duration
		name        string
	}{
		{time.Minute, time.Second, "second"},
		{time.Hour, time.Minute, "minute"},
		{48 * time.Hour, time.Hour, "hour"},
		{60 * 24 * time.Hour, 24 * time.Hour, "day"},
	} {
		if since >= 0 && since < step.below {
			return Counted(int(since/step.unit), step.name) + " ago"
		}
	}
	return at.Format(time.DateOnly)
}

// When returns when something happened or will happen; "" for the zero time.
func When(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	at = at.UTC()
	since := time.Since(at)
	if since > 0 {
		return Ago(since, at)
	}
	if text, ok := strings.CutSuffix(Ago(-since, at), " ago"); ok {
		return "in " + text
	}
	return at.Format(time.DateOnly)
}

// Ends returns when something ends; "never" for nil.
func Ends(at *time.Time) string {
	switch {
	case at == nil:
		return "never"
	case at.After(time.Now()):
		return When(*at)
	}
	return "ended " + When(*at)
}

// EndsIfKnown is Ends, but "" for nil: a binding without an expiry never ends, or its vault doesn't say.
func EndsIfKnown(at *time.Time) string {
	if at == nil {
		return ""
	}
	return Ends(at)
}

// VersionOf returns a version as text; "" if it is unknown.
func VersionOf(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
