package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// table prints what was skipped, a line for each top-level test and what it needs, and how to get that.
func (r *report) table(ctx context.Context) {
	if len(r.skips) == 0 {
		return
	}
	slices.SortStableFunc(r.skips, compareNeeds)
	fmt.Fprintf(r.to, "\n=== Skipped\n")
	var text strings.Builder
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "NEEDS\tPACKAGE\tTEST\tREASON")
	for i := 0; i < len(r.skips); {
		s := r.skips[i]
		top, _, _ := strings.Cut(s.test, "/")
		end := i + 1
		for end < len(r.skips) && sameRow(s, r.skips[end]) {
			end++
		}
		test := s.test
		if end > i+1 {
			test = fmt.Sprintf("%s (%d of its cases)", top, end-i)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", called(s.Need), s.pkg, test, s.Why)
		i = end
	}
	_ = out.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(r.to, strings.TrimRight(line, " \n"))
	}
	for _, line := range advice(ctx, r.skips) {
		fmt.Fprintln(r.to, line)
	}
}

// sameRow reports whether two skips are cases of one test with the same need.
func sameRow(a, b skipped) bool {
	topA, _, _ := strings.Cut(a.test, "/")
	topB, _, _ := strings.Cut(b.test, "/")
	return a.Kind == b.Kind && a.What == b.What && a.pkg == b.pkg && topA == topB
}

func called(n needs.Need) string {
	switch n.Kind {
	case needs.KindCommand, needs.KindOption:
		return n.What
	case needs.KindNPM:
		return "npm " + n.What
	}
	return n.Kind
}

// advice is how to run what was skipped: a line for apt-get, one for npm, one about root.
func advice(ctx context.Context, skips []skipped) (lines []string) {
	var debian, npm []string
	root := 0
	for _, s := range skips {
		switch s.Kind {
		case needs.KindCommand:
			if p := needs.DebianPackage(s.What); p != "" {
				debian = append(debian, p)
			}
		case needs.KindNPM:
			npm = append(npm, s.What)
		case needs.KindRoot:
			root++
		}
	}
	if slices.Contains(debian, needs.DebianPackage("node")) { // what takes node takes these then
		npm = append(npm, needs.MissingNPM(ctx)...)
	}
	if len(npm) > 0 && slices.Contains(needs.MissingDebianPackages(), "npm") {
		debian = append(debian, "npm")
	}
	sudo := ""
	if os.Geteuid() != 0 {
		sudo = "sudo "
	}
	if slices.Sort(debian); len(debian) > 0 {
		lines = append(lines, "Install the commands: "+sudo+"apt-get install "+strings.Join(slices.Compact(debian), " "))
	}
	if len(npm) > 0 {
		lines = append(lines, "Install the npm packages: npm install --prefix "+needs.NPMFolder+" "+strings.Join(needs.NPMPackages(npm...), " "))
	}
	if root > 0 {
		lines = append(lines, "Run make test as root for the tests that need root.")
	}
	return lines
}
