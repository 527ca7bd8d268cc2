package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// module is left out of the names of packages.
const module = "github.com/Miosa-osa/miosa-env/"

// event is a line of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// name is a test, or with an empty test a package.
type name struct{ pkg, test string }

// skipped is a test that was skipped, and what it needs.
type skipped struct {
	name
	needs.Need
}

// report prints packages as they end, the output of failed tests, and at the end what was skipped.
type report struct {
	to     io.Writer
	output map[name]*strings.Builder // of tests that run, and of packages
	times  map[string]int            // how many tests of a package have ended

	tests, failures int
	errors          int // packages that failed without a test that did: they don't build, or end early
	failed          []name
	skips           []skipped
}

func newReport(to io.Writer) *report {
	return &report{to: to, output: map[name]*strings.Builder{}, times: map[string]int{}}
}

// read reads events to the end of r. A line that is none is printed as it is.
func (r *report) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		var e event
		switch {
		case line == "":
		case json.Unmarshal([]byte(line), &e) != nil || e.Action == "":
			_, _ = io.WriteString(r.to, line)
		default:
			r.take(e)
		}
		if err != nil {
			return
		}
	}
}

func (r *report) take(e event) {
	n := name{strings.TrimPrefix(e.Package, module), e.Test}
	switch e.Action {
	case "run":
		r.tests++
	case "output":
		r.keep(n, e.Output)
	case "build-output":
		_, _ = io.WriteString(r.to, e.Output)
	case "pass", "fail", "skip":
		r.end(n, e)
	}
}

// keep keeps a line of output, but for those that say only what events say.
func (r *report) keep(n name, line string) {
	if line == "PASS\n" || line == "FAIL\n" || strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "=== ") {
		return
	}
	if r.output[n] == nil {
		r.output[n] = &strings.Builder{}
	}
	r.output[n].WriteString(line)
}

func (r *report) end(n name, e event) {
	said := ""
	if b := r.output[n]; b != nil {
		said = b.String()
	}
	delete(r.output, n)
	if n.test == "" {
		r.endPackage(n, e, said)
		return
	}
	r.times[n.pkg]++
	switch e.Action {
	case "fail":
		r.failures++
		r.failed = append(r.failed, n)
		fmt.Fprintf(r.to, "=== FAIL: %s %s (%.2fs)\n%s", n.pkg, n.test, e.Elapsed, ended(said))
	case "skip":
		need, ok := needs.Find(said)
		if !ok {
			need = needs.Need{Kind: "other", Why: reasonIn(said)}
		}
		r.skips = append(r.skips, skipped{n, need})
	}
}

// endPackage prints one line about a package, unless it has no tests. Of one that failed early it prints what it
// said, and what the tests said that were running then.
func (r *report) endPackage(n name, e event, said string) {
	early := e.Action == "fail" && !slices.ContainsFunc(r.failed, func(f name) bool { return f.pkg == n.pkg })
	if early {
		r.errors++
		r.failed = append(r.failed, n)
	}
	for running, b := range r.output {
		if running.pkg == n.pkg {
			if e.Action == "fail" {
				fmt.Fprintf(r.to, "=== RUNNING: %s %s\n%s", running.pkg, running.test, ended(b.String()))
			}
			delete(r.output, running)
		}
	}
	if e.Action == "fail" {
		fmt.Fprintf(r.to, "%sFAIL  %s (%.1fs)\n", ended(said), n.pkg, e.Elapsed)
	} else if r.times[n.pkg] > 0 {
		fmt.Fprintf(r.to, "ok    %s (%.1fs)\n", n.pkg, e.Elapsed)
	}
}

// ended is text with a line end.
func ended(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// reasonIn finds the reason of a skip that isn't in the form of package needs.
func reasonIn(said string) string {
	for line := range strings.Lines(said) {
		if _, reason, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			if _, reason, ok = strings.Cut(reason, ": "); ok {
				return reason
			}
		}
	}
	return "no reason is given"
}

// finish prints the names of what failed, the table of what was skipped, and the closing line.
func (r *report) finish(ctx context.Context, took time.Duration, interrupted bool) {
	if len(r.failed) > 0 {
		fmt.Fprintln(r.to, "\n=== Failed")
		for _, n := range r.failed {
			fmt.Fprintln(r.to, strings.TrimSpace("FAIL: "+n.pkg+" "+n.test))
		}
	}
	r.table(ctx)
	how := "DONE"
	if interrupted {
		how = "INTERRUPTED"
	}
	line := fmt.Sprintf("%s %s", how, counted(r.tests, "test"))
	if n := len(r.skips); n > 0 {
		line += fmt.Sprintf(", %d skipped", n)
	}
	if r.failures > 0 {
		line += ", " + counted(r.failures, "failure")
	}
	if r.errors > 0 {
		line += ", " + counted(r.errors, "error")
	}
	fmt.Fprintf(r.to, "\n%s in %.3fs\n", line, took.Seconds())
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// compareNeeds orders skips by what is missing, then by test.
func compareNeeds(a, b skipped) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What), cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test))
}
