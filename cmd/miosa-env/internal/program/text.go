package program

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// PrintJSON prints what as indented JSON.
func PrintJSON(w io.Writer, what any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(what)
}

// Cell makes foreign text safe for a table on a terminal.
func Cell(s string) string {
	if s == "" {
		return "-"
	}
	return cli.OneLine(s)
}

// Ago says how long ago something was, in its largest unit; its date where that is more than 60 days
// or, clocks being what they are, in the future.
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
		if since < 0 || since >= step.below {
			continue
		}
		n := int(since / step.unit)
		if n == 1 {
			return "1 " + step.name + " ago"
		}
		return strconv.Itoa(n) + " " + step.name + "s ago"
	}
	return at.Format(time.DateOnly)
}

// Counted returns "1 binding" or "2 bindings", if what is binding.
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// Table is what people read: a head and rows of as many cells.
type Table struct {
	Head []string
	Rows [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints the table. It leaves out columns that are empty all the way down.
func (t *Table) Write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	used := make([]bool, len(t.Head))
	for _, row := range t.Rows {
		for i, text := range row {
			used[i] = used[i] || text != ""
		}
	}
	line := func(cells []string) {
		var kept []string
		for i, text := range cells {
			if used[i] {
				kept = append(kept, api.RedactKeys(Cell(text)))
			}
		}
		fmt.Fprintln(out, strings.Join(kept, "\t"))
	}
	line(t.Head)
	for _, row := range t.Rows {
		line(row)
	}
	return out.Flush()
}

// When says when something was or will be, as people do; "" for the zero time, which a vault didn't tell.
func When(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	at = at.UTC()
	if away := at.Sub(now); away >= 0 {
		if text, ok := strings.CutSuffix(Ago(away, at), " ago"); ok {
			return "in " + text
		}
		return at.Format(time.DateOnly)
	}
	return Ago(now.Sub(at), at)
}

// VersionOf says which version it is; "" where the vault doesn't tell.
func VersionOf(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Ends says when something ends: never, where at is nil.
func Ends(at *time.Time, now time.Time) string {
	switch {
	case at == nil:
		return "never"
	case at.After(now):
		return When(*at, now)
	}
	return "ended " + When(*at, now)
}
