// Package browser drives a real Chromium in tests.
//
//	ctx := browser.Start(t)
//	if err := chromedp.Do(ctx, chromedp.Navigate(page.URL), browser.Media(browser.Dark)); err != nil {
//		t.Fatal(err)
//	}
//	browser.Save(t, ctx, "page-dark.png")
//	browser.NoProblems(t, ctx)
//
// The browser has a profile, a home and an environment of its own, resolves nothing but loopback, and
// ends with the test. A test on a machine without Chromium is skipped.
package browser

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/chromedp/chromedp"
)

// programs are the names that Chromium is installed under, in the order they are looked for.
var programs = []string{"chromium", "chromium-browser", "google-chrome"}

// settings is what an Option changes.
type settings struct {
	limit         time.Duration
	width, height int
	flags         map[string]any
}

// Option changes how the browser is started.
type Option func(*settings)

// Limit is how long the browser may live, two minutes by default. Past it, whatever is done with it
// ends with context.DeadlineExceeded.
func Limit(d time.Duration) Option { return func(s *settings) { s.limit = d } }

// Window is the window's size in pixels, 1280 by 800 by default.
func Window(width, height int) Option {
	return func(s *settings) { s.width, s.height = width, height }
}

// Flag gives one more flag to Chromium, without its dashes: a text, or true for a flag without a value.
func Flag(name string, value any) Option {
	return func(s *settings) { s.flags[name] = value }
}

// Start starts a browser and returns the context of its first tab, for chromedp.Do and chromedp.Run.
// To limit one step, derive a context with a timeout from it.
func Start(t testing.TB, opts ...Option) context.Context {
	t.Helper()
	s := settings{limit: 2 * time.Minute, width: 1280, height: 800, flags: map[string]any{}}
	for _, opt := range opts {
		opt(&s)
	}
	path := find(t)

	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	t.Cleanup(cancel)
	found := &collection{}
	ctx = context.WithValue(ctx, collectionKey{}, found)
	ctx, wait := chromedp.NewExecAllocator(ctx, s.options(path, folder(t))...)
	t.Cleanup(wait)
	ctx, end := chromedp.NewContext(ctx, chromedp.WithListener(found.add))
	t.Cleanup(end)

	// The first step of all starts the browser, and binds its life to the context of that step.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// Tab opens one more tab in the browser of ctx. It closes with the test. Its problems are among those
// of the browser. With chromedp.WithNewBrowserContext it is somebody else's: no cookies, no storage.
func Tab(t testing.TB, ctx context.Context, opts ...chromedp.ContextOption) context.Context { //nolint:revive // t comes first in what serves tests
	t.Helper()
	opts = append(opts, chromedp.WithListener(collected(ctx).add))
	tab, end := chromedp.NewContext(ctx, opts...)
	t.Cleanup(end)
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	return tab
}

// folder makes a folder for what Chromium leaves behind when it is killed. Its path is short, since sockets
// are in it: a test's own temporary folder has the test's name in its path.
func folder(t testing.TB) string {
	t.Helper()
	path, err := os.MkdirTemp("", "browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The last of its processes may still be writing, for a moment.
		for range 20 {
			if err = os.RemoveAll(path); err == nil {
				return
			}
			<-time.After(50 * time.Millisecond)
		}
		t.Logf("left behind: %v", err)
	})
	return path
}

// find gives the path of Chromium, or skips the test.
func find(t testing.TB) string {
	t.Helper()
	return needs.OneCommand(t, programs...)
}

// options are the flags and the environment of the process. Its home and temporary files are in folder; its
// profile is in another temporary folder, which chromedp makes and removes.
func (s *settings) options(path, folder string) []chromedp.ExecAllocatorOption {
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(s.width, s.height),
		// Of our environment it gets what it needs to run, and no proxy.
		chromedp.NoInheritEnv,
		chromedp.Env("PATH="+os.Getenv("PATH"), "HOME="+folder, "TMPDIR="+folder, "LANG=C.UTF-8"),
	}
	flags := map[string]any{
		// Loopback only.
		"host-resolver-rules": "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]",
		"no-proxy-server":     true,
		"disable-quic":        true,
		// Nothing by itself.
		"disable-background-networking":          true,
		"disable-client-side-phishing-detection": true,
		"disable-component-update":               true,
		"disable-default-apps":                   true,
		"disable-domain-reliability":             true,
		"disable-extensions":                     true,
		"disable-sync":                           true,
		"disable-breakpad":                       true,
		"disable-crash-reporter":                 true,
		"disable-features":                       "Translate,OptimizationHints,MediaRouter,AutofillServerCommunication",
		"metrics-recording-only":                 true,
		"no-pings":                               true,
		"mute-audio":                             true,
		// Small machines and containers: /dev/shm may be too small, and a tab that isn't in front still works.
		"disable-dev-shm-usage":                  true,
		"disable-background-timer-throttling":    true,
		"disable-backgrounding-occluded-windows": true,
		"disable-renderer-backgrounding":         true,
		"disable-hang-monitor":                   true,
		// The same picture everywhere, and no dialog.
		"force-color-profile": "srgb",
		"hide-scrollbars":     true,
		"password-store":      "basic",
		"enable-automation":   true,
	}
	for name, value := range s.flags {
		flags[name] = value
	}
	for name, value := range flags {
		options = append(options, chromedp.Flag(name, value))
	}
	return options
}
