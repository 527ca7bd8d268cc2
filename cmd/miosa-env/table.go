package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// table is what people read: a head and rows of as many cells.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// writeTo leaves out columns that are empty all the way down.
func (t *table) writeTo(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	used := make([]bool, len(t.head))
	for _, row := range t.rows {
		for i, text := range row {
			used[i] = used[i] || text != ""
		}
	}
	line := func(cells []string) {
		var kept []string
		for i, text := range cells {
			if used[i] {
				kept = append(kept, api.RedactKeys(cell(text)))
			}
		}
		fmt.Fprintln(out, strings.Join(kept, "\t"))
	}
	line(t.head)
	for _, row := range t.rows {
		line(row)
	}
	return out.Flush()
}

// when says when something was or will be, as people do; "" for the zero time, which a vault didn't tell.
func when(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	at = at.UTC()
	if away := at.Sub(now); away >= 0 {
		if text, ok := strings.CutSuffix(ago(away, at), " ago"); ok {
			return "in " + text
		}
		return at.Format(time.DateOnly)
	}
	return ago(now.Sub(at), at)
}

// versionOf says which version it is; "" where the vault doesn't tell.
func versionOf(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// ends says when something ends: never, where at is nil.
func ends(at *time.Time, now time.Time) string {
	switch {
	case at == nil:
		return "never"
	case at.After(now):
		return when(*at, now)
	}
	return "ended " + when(*at, now)
}
