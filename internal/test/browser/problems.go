package browser

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
)

// Problem is an error of a page: in the console, an uncaught exception, a violation of its content security policy, or a
// resource that couldn't be loaded.
type Problem struct {
	Source string // "console", "exception", or Chromium's, such as "security" or "network"
	Text   string
	URL    string // of the page or script, without query and fragment, which may contain codes
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s (%s)", p.Source, p.Text, p.URL) }

// Problems returns the problems of all tabs of the browser so far, oldest first.
func Problems(ctx context.Context) []Problem {
	c := collected(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Problem(nil), c.found...)
}

// collection has the problems of all tabs of a browser.
type collection struct {
	mu    sync.Mutex // guards the fields below
	found []Problem
}

type collectionKey struct{}

// collected returns the collection of a context, which Start must have made.
func collected(ctx context.Context) *collection {
	return ctx.Value(collectionKey{}).(*collection)
}

// add adds the problem of an event, if it is one.
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
			description, _, _ := strings.Cut(thrown.Description, "\n") // the rest has the stack, with complete URLs
			p.Text += " " + description
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

// words returns the text of a call of console.error.
func words(args []*runtime.RemoteObject) string {
	var all []string
	for _, a := range args {
		all = append(all, cmp.Or(a.Description, strings.Trim(string(a.Value), `"`)))
	}
	return strings.Join(all, " ")
}
