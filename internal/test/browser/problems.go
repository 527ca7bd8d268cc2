package browser

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
)

// Problem is something a page did wrong: an error in the console, an exception nobody caught, a
// violation of its content security policy, something that couldn't be loaded.
type Problem struct {
	Source string // "console", "exception", or where Chromium has it from, such as "security" or "network"
	Text   string
	URL    string // where it happened, without query and fragment: codes and states stand there
}

// String gives it on one line.
func (p Problem) String() string { return fmt.Sprintf("%s: %s (%s)", p.Source, p.Text, p.URL) }

// Problems returns what went wrong so far in any tab of the browser, oldest first.
func Problems(ctx context.Context) []Problem {
	c := collected(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Problem(nil), c.found...)
}

// NoProblems fails the test for each problem so far.
func NoProblems(t testing.TB, ctx context.Context) { //nolint:revive // t comes first in what serves tests
	t.Helper()
	for _, p := range Problems(ctx) {
		t.Errorf("the page has a problem: %s", p)
	}
}

// collection gathers the problems of all tabs of a browser.
type collection struct {
	mu    sync.Mutex // guards the fields below
	found []Problem
}

type collectionKey struct{}

// collected gives the collection of the browser of a context. It panics where Start didn't make that
// context.
func collected(ctx context.Context) *collection {
	return ctx.Value(collectionKey{}).(*collection)
}

// add looks at one event of a tab.
func (c *collection) add(event any) {
	var p Problem
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
			return
		}
		p.Source, p.Text = "console", words(e.Args)
		if e.StackTrace != nil && len(e.StackTrace.CallFrames) > 0 {
			p.URL = e.StackTrace.CallFrames[0].URL
		}
	case *runtime.EventExceptionThrown:
		p.Source, p.Text, p.URL = "exception", e.ExceptionDetails.Text, e.ExceptionDetails.URL
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			said, _, _ := strings.Cut(thrown.Description, "\n") // where is below, with whole addresses
			p.Text += " " + said
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Source != log.EntrySourceSecurity {
			return
		}
		p.Source, p.Text, p.URL = string(e.Entry.Source), e.Entry.Text, e.Entry.URL
	default:
		return
	}
	p.URL, _, _ = strings.Cut(p.URL, "?")
	p.URL, _, _ = strings.Cut(p.URL, "#")
	c.mu.Lock()
	c.found = append(c.found, p)
	c.mu.Unlock()
}

// words gives what a call of console.error shows.
func words(args []*runtime.RemoteObject) string {
	var all []string
	for _, a := range args {
		switch {
		case a.Description != "":
			all = append(all, a.Description)
		default:
			all = append(all, strings.Trim(string(a.Value), `"`))
		}
	}
	return strings.Join(all, " ")
}
