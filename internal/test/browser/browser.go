// Package browser drives a real Chromium in tests.
//
//	ctx := browser.Start(t)
//	if err := chromedp.Do(ctx, chromedp.Navigate(page.URL), browser.Media(browser.Dark)); err != nil {
//		t.Fatal(err)
//	}
//	browser.Save(t, ctx, "page-dark.png")
//
// The browser has a profile, a home and an environment of its own, resolves nothing but loopback, and
// ends with the test. A test on a machine without Chromium is skipped.
package browser

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/chromedp/chromedp"
)

// programs are the names of Chromium, in the order of preference.
var programs = []string{"chromium", "chromium-browser", "google-chrome"}

// limit is how long a browser may live. After that, every step returns context.DeadlineExceeded.
const limit = 8 * time.Minute

// Start starts a browser and returns the context of its first tab, for chromedp.Do and chromedp.Run. To limit one step, derive
// a context with a timeout from it.
func Start(t testing.TB) context.Context {
	t.Helper()
	path := needs.OneCommand(t, programs...)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	found := &collection{}
	ctx = context.WithValue(ctx, collectionKey{}, found)
	ctx, wait := chromedp.NewExecAllocator(ctx, options(path, folder(t))...)
	t.Cleanup(wait)
	ctx, end := chromedp.NewContext(ctx, chromedp.WithListener(found.add))
	t.Cleanup(end)

	// The first step starts the browser, which ends with the context of that step.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// Tab opens another tab in the browser of ctx, until the test ends. Problems includes its problems. With
// chromedp.WithNewBrowserContext it shares no cookies and storage.
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

// folder makes a folder for the files of Chromium. Unlike the path of a test's temporary folder, its path is short enough for
// sockets.
func folder(t testing.TB) string {
	t.Helper()
	path, err := os.MkdirTemp("", "browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !poll.Within(time.Second, func() bool { err = os.RemoveAll(path); return err == nil }) { // a process may still write
			t.Logf("left behind: %v", err)
		}
	})
	return path
}

// options returns the flags and the environment of the process. Its home and temporary files are in folder; chromedp puts its
// profile in another temporary folder, which it removes.
func options(path, folder string) []chromedp.ExecAllocatorOption {
	return append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 800),
		chromedp.NoInheritEnv, // in particular, no proxy
		chromedp.Env("PATH="+os.Getenv("PATH"), "HOME="+folder, "TMPDIR="+folder, "LANG=C.UTF-8"),
		// Loopback only.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-quic", true),
		// No traffic and no processes of its own.
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("disable-crash-reporter", true),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter,AutofillServerCommunication"),
		chromedp.Flag("no-pings", true),
		chromedp.Flag("mute-audio", true),
		chromedp.Flag("hide-scrollbars", true), // in pictures
	)
}
