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

// table prints the skipped tests, one line for each top-level test and requirement, and how to install what is missing.
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

// sameRow reports whether two skips belong to one test and have the same requirement.
func sameRow(a, b skipped) bool {
	topA, _, _ := strings.Cut(a.test, "/")
	topB, _, _ := strings.Cut(b.test, "/")
	return a.Kind == b.Kind && a.What == b.What && a.pkg == b.pkg && topA == topB
}

func called(n needs.Need) string {
	switch n.Kind {
	case "command", "option":
		return n.What
	case "npm":
		return "npm " + n.What
	}
	return n.Kind
}

// advice returns lines that say how to run the skipped tests.
func advice(ctx context.Context, skips []skipped) (lines []string) {
	var debian, npm []string
	root := 0
	for _, s := range skips {
		switch s.Kind {
		case "command":
			if p := needs.DebianPackage(s.What); p != "" {
				debian = append(debian, p)
			}
		case "npm":
			npm = append(npm, s.What)
		case "root":
			root++
		}
	}
	if slices.Contains(debian, needs.DebianPackage("node")) { // tests that need node may need these as well
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
