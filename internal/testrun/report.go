package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// module is left out of the names of packages.
const module = "github.com/Miosa-osa/miosa-env/"

// event is an event of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// name is the name of a test, or of a package if test is empty.
type name struct{ pkg, test string }

// skipped is a skipped test and its requirement.
type skipped struct {
	name
	needs.Need
}

// report prints each package when it ends, the output of failed tests, and a table of the skipped tests.
type report struct {
	to     io.Writer
	line   []byte          // the beginning of the next
	output map[name][]byte // of running tests and packages
	ended  map[string]int  // package to number of tests that have ended

	tests, failures int
	errors          int // packages that failed without a failed test: build errors, early exits
	failed          []name
	skips           []skipped
}

func newReport(to io.Writer) *report {
	return &report{to: to, output: map[name][]byte{}, ended: map[string]int{}}
}

// Write takes events of go test, one a line. It prints other lines.
func (r *report) Write(b []byte) (int, error) {
	r.line = append(r.line, b...)
	for {
		line, rest, ok := bytes.Cut(r.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		var e event
		if json.Unmarshal(line, &e) != nil || e.Action == "" {
			fmt.Fprintf(r.to, "%s\n", line)
		} else {
			r.take(e)
		}
		r.line = rest
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

// keep keeps a line of output, unless an event has the same information.
func (r *report) keep(n name, line string) {
	if line == "PASS\n" || line == "FAIL\n" || strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "=== ") {
		return
	}
	r.output[n] = append(r.output[n], line...)
}

func (r *report) end(n name, e event) {
	said := string(r.output[n])
	delete(r.output, n)
	if n.test == "" {
		r.endPackage(n, e, said)
		return
	}
	r.ended[n.pkg]++
	switch e.Action {
	case "fail":
		r.failures++
		r.failed = append(r.failed, n)
		fmt.Fprintf(r.to, "=== FAIL: %s %s (%.2fs)\n%s", n.pkg, n.test, e.Elapsed, terminated(said))
	case "skip":
		need, ok := needs.Find(said)
		if !ok {
			need = needs.Need{Kind: "other", Why: reasonIn(said)}
		}
		r.skips = append(r.skips, skipped{n, need})
	}
}

// endPackage prints a line about a package, unless it has no tests. If it failed early, it prints the output of the package and
// of its running tests.
func (r *report) endPackage(n name, e event, said string) {
	early := e.Action == "fail" && !slices.ContainsFunc(r.failed, func(f name) bool { return f.pkg == n.pkg })
	if early {
		r.errors++
		r.failed = append(r.failed, n)
	}
	for running, b := range r.output {
		if running.pkg == n.pkg {
			if e.Action == "fail" {
				fmt.Fprintf(r.to, "=== RUNNING: %s %s\n%s", running.pkg, running.test, terminated(string(b)))
			}
			delete(r.output, running)
		}
	}
	if e.Action == "fail" {
		fmt.Fprintf(r.to, "%sFAIL  %s (%.1fs)\n", terminated(said), n.pkg, e.Elapsed)
	} else if r.ended[n.pkg] > 0 {
		fmt.Fprintf(r.to, "ok    %s (%.1fs)\n", n.pkg, e.Elapsed)
	}
}

// terminated returns text with a newline at its end, unless it is empty.
func terminated(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// reasonOf matches the reason of a skip in the output of go test.
var reasonOf = regexp.MustCompile(`(?m)^\s*\S+\.go:\d+: (.+)$`)

// reasonIn returns the reason of a skip that isn't from package needs.
func reasonIn(said string) string {
	if m := reasonOf.FindStringSubmatch(said); m != nil {
		return m[1]
	}
	return "no reason is given"
}

// finish prints the failed tests, the table of skipped tests, and the counts.
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
	line := how + " " + counted(r.tests, "test")
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

// compareNeeds compares skips by requirement, then by test.
func compareNeeds(a, b skipped) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What), cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test))
}
