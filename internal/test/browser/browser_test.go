package browser_test

import (
	"bytes"
	"context"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// served serves one page, with a content security policy if csp is not empty.
func served(t *testing.T, csp, html string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if csp != "" {
			w.Header().Set("Content-Security-Policy", csp)
		}
		_, _ = w.Write([]byte("<!doctype html><html lang=en><title>t</title>" + html))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	got, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, csp, html string
		source, text    string // of the only problem; empty: none
	}{
		{name: "none", html: "<h1>Fine</h1><script>console.log('fine')</script>"},
		{name: "console", html: "<script>console.error('broken', 7)</script>", source: "console", text: "broken 7"},
		{name: "exception", html: "<script>throw new Error('thrown')</script>", source: "exception", text: "thrown"},
		{name: "policy", csp: "script-src 'none'", html: "<script>let x = 1</script>", source: "security", text: "Content Security Policy"},
		{name: "style policy", csp: "style-src 'none'", html: "<p style='color:red'>x", source: "security", text: "Content Security Policy"},
		{name: "another host", html: "<img alt='' src='http://miosa.ai/x.png'>", source: "network", text: "ERR_NAME_NOT_RESOLVED"},
		{name: "another address", html: "<img alt='' src='http://192.0.2.1/x.png'>", source: "network", text: "ERR_NAME_NOT_RESOLVED"},
	}
	first := browser.Start(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := len(browser.Problems(first))
			ctx := browser.Tab(t, first)
			do(t, ctx, chromedp.Navigate(served(t, test.csp, test.html)+"/?code=abc#state"))
			// The page's problems are reported asynchronously: a round trip through the page comes after them.
			get(t, ctx, chromedp.Evaluate[int]("1"))
			problems := browser.Problems(ctx)[before:]
			if test.source == "" {
				if len(problems) != 0 {
					t.Errorf("got %v", problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Source != test.source || !strings.Contains(problems[0].Text, test.text) {
				t.Fatalf("got %v, want one of %s with %q", problems, test.source, test.text)
			}
			if strings.Contains(problems[0].String(), "abc") {
				t.Errorf("the address' query stands in %v", problems[0])
			}
		})
	}
}

func TestDisplay(t *testing.T) {
	ctx := browser.Start(t)
	page := served(t, "", `<meta name=viewport content="width=device-width,initial-scale=1">
		<style>:root{color-scheme:light dark} div{width:500px;height:1200px}</style><div>wide</div>`)
	asked := func(query string) bool {
		return get(t, ctx, chromedp.Evaluate[bool]("matchMedia("+strconv.Quote(query)+").matches"))
	}
	do(t, ctx, chromedp.Navigate(page), browser.Media(browser.Dark, browser.ReducedMotion))
	if !asked("(prefers-color-scheme: dark)") || !asked("(prefers-reduced-motion: reduce)") {
		t.Error("dark and reduced motion aren't what the page sees")
	}
	do(t, ctx, browser.Media(browser.Light))
	if asked("(prefers-color-scheme: dark)") || asked("(prefers-reduced-motion: reduce)") {
		t.Error("dark or reduced motion stayed")
	}
	if over := get(t, ctx, browser.Overflow()); over != 0 {
		t.Errorf("%d points too wide in a window of 1280", over)
	}
	for _, p := range browser.Problems(ctx) {
		t.Errorf("the page has a problem: %s", p)
	}
	do(t, ctx, browser.Phone(), chromedp.Reload())
	if over := get(t, ctx, browser.Overflow()); over < 100 {
		t.Errorf("%d points too wide on a phone of 390, want 118 about", over)
	}
	path := filepath.Join(t.TempDir(), "page.png")
	browser.Save(t, ctx, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.DecodeConfig(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if picture.Width < 780 || picture.Height < 2400 {
		t.Errorf("the picture has %d by %d pixels: not the whole page, two pixels a point", picture.Width, picture.Height)
	}
}

func TestTab(t *testing.T) {
	first := browser.Start(t)
	page := served(t, "", "<script>console.error(location.pathname)</script>")
	do(t, first, chromedp.Navigate(page+"/one"), chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := chromedp.Evaluate[string]("document.cookie = 'a=b'")(ctx, tab)
		return err
	}))
	same, stranger := browser.Tab(t, first), browser.Tab(t, first, chromedp.WithNewBrowserContext())
	do(t, same, chromedp.Navigate(page+"/two"))
	do(t, stranger, chromedp.Navigate(page+"/three"))
	for name, test := range map[string]struct {
		ctx  context.Context
		want string
	}{"same": {same, "a=b"}, "stranger": {stranger, ""}} {
		if got := get(t, test.ctx, chromedp.Evaluate[string]("document.cookie")); got != test.want {
			t.Errorf("%s has the cookies %q, want %q", name, got, test.want)
		}
	}
	var texts []string
	for _, p := range browser.Problems(first) {
		texts = append(texts, p.Text)
	}
	if diff := cmp.Diff([]string{"/one", "/two", "/three"}, texts); diff != "" {
		t.Errorf("problems of all tabs (-want +got):\n%s", diff)
	}
}

func TestNothingIsLeft(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var started []int
	t.Run("start", func(t *testing.T) {
		ctx := browser.Start(t)
		do(t, ctx, chromedp.Navigate(served(t, "", "<p>x")))
		started = naming(temp)
	})
	if len(started) < 3 {
		needs.System(t, "the processes of a browser in /proc, which shows %d", len(started))
	}
	poll.Until(t, 10*time.Second, "the processes end", func() bool { return !slices.ContainsFunc(started, alive) })
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("files are left behind: %v %v", left, err)
	}
}

// naming returns the processes that have a folder in their arguments or environment.
func naming(folder string) (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil || pid == os.Getpid() {
			continue
		}
		arguments, _ := os.ReadFile(path + "/cmdline")
		environment, _ := os.ReadFile(path + "/environ")
		if bytes.Contains(append(arguments, environment...), []byte(folder)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// alive reports whether a process runs and is not a zombie.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z")
}
