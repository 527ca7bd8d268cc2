package oauthtest_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

var update = flag.Bool("update", false, "write the pictures in docs/screenshots anew")

// step is an action of the user in the browser.
type step = chromedp.Action[chromedp.Void]

// landing is the vault's page at which a flow ends.
type landing struct {
	tab         context.Context
	title, text string
	url         string
	status      int64
	header      http.Header
}

// visit opens an address in a tab, continues from the vault's page to the provider's, performs the steps, and ends at the
// page at which the flow ends. Without an address, it goes on from where the tab is.
func visit(t *testing.T, tab context.Context, address string, steps ...step) landing {
	t.Helper()
	var begin []step
	if address != "" {
		begin = append(begin, chromedp.Navigate(address))
	}
	if strings.Contains(address, oauth.ConnectPath) {
		begin = append(begin, browser.Continue())
	}
	return land(t, tab, oauth.CallbackPath, "main:not(.ask) h1", append(begin, steps...))
}

// look opens the vault's page before the provider's.
func look(t *testing.T, tab context.Context, address string) landing {
	t.Helper()
	return land(t, tab, oauth.ConnectPath, "main.ask h1", []step{chromedp.Navigate(address)})
}

// land performs steps that end at a page of the vault, with a path and an element.
func land(t *testing.T, tab context.Context, path, element string, steps []step) landing {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, 40*time.Second)
	defer cancel()
	var (
		mu   sync.Mutex
		last *network.Response // the vault's page
	)
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*network.EventResponseReceived); ok && e.Type == network.ResourceTypeDocument &&
			strings.Contains(e.Response.URL, path) {
			mu.Lock()
			last = e.Response
			mu.Unlock()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, append(steps, chromedp.WaitVisible(chromedp.CSS(element)))...); err != nil {
		t.Fatalf("in the browser: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if last == nil {
		t.Fatal("the vault sent no page")
	}
	l := landing{tab: tab, url: last.URL, status: last.Status, header: http.Header{}}
	for name, value := range last.Headers {
		l.header.Set(name, fmt.Sprint(value))
	}
	l.title = ask(t, tab, chromedp.Text(chromedp.CSS("h1")))
	l.text = ask(t, tab, chromedp.Text(chromedp.CSS("main")))
	return l
}

// ask returns the result of an action on a page.
func ask[T any](t *testing.T, tab context.Context, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, 20*time.Second)
	defer cancel()
	got, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatalf("in the browser: %v", err)
	}
	return got
}

// wantText fails the test unless the page has the title, each of the texts, and the status.
func (l landing) wantText(t *testing.T, status int64, title string, texts ...string) {
	t.Helper()
	if l.status != status {
		t.Errorf("the page came with status %d, want %d", l.status, status)
	}
	if l.title != title {
		t.Errorf("the page's title is %q, want %q", l.title, title)
	}
	for _, text := range texts {
		if !strings.Contains(l.text, text) {
			t.Errorf("the page doesn't say %q but\n%s", text, l.text)
		}
	}
}

// fit checks the page in each appearance against the requirements for all pages of the vault. With -update and a
// name, it writes screenshots for the documentation; nothing compares them.
func (l landing) fit(t *testing.T, name string, secrets ...string) {
	t.Helper()
	l.fitFor(t, name, "'none'", "no-referrer", 0, secrets...)
}

// fitForm is fit for the page with a form, which may only be sent to the vault. axe-core finds nothing wrong with it.
func (l landing) fitForm(t *testing.T, name string) {
	t.Helper()
	l.fitFor(t, name, "'self'", "same-origin", 1)
	source, err := os.ReadFile(needs.NPM(t, "axe-core"))
	if err != nil {
		t.Fatal(err)
	}
	ask(t, l.tab, chromedp.Evaluate[bool](string(source)+";true"))
	for _, scheme := range []browser.Feature{browser.Light, browser.Dark} {
		do(t, l.tab, browser.Media(scheme))
		for _, problem := range ask(t, l.tab, chromedp.Evaluate[[]string](`axe.run(document, { resultTypes: ['violations'] }).then((r) =>
			r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + v.help + ': ' + n.target + ': ' + n.failureSummary)))`, chromedp.EvalAwaitPromise)) {
			t.Error(problem)
		}
	}
}

func (l landing) fitFor(t *testing.T, name, formAction, referrer string, forms int, secrets ...string) {
	t.Helper()
	policy := map[string]string{}
	for directive := range strings.SplitSeq(l.header.Get("Content-Security-Policy"), ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		policy[key] = value
	}
	if style := policy["style-src"]; !strings.HasPrefix(style, "'sha256-") || strings.Contains(style, "unsafe") {
		t.Errorf("the policy lets in the style %q", style)
	}
	delete(policy, "style-src")
	want := map[string]string{"default-src": "'none'", "base-uri": "'none'", "form-action": formAction, "frame-ancestors": "'none'"}
	if diff := gocmp.Diff(want, policy); diff != "" {
		t.Errorf("the content security policy (-want +got):\n%s", diff)
	}
	for header, want := range map[string]string{
		"Referrer-Policy": referrer, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := l.header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}

	// The page contains nothing of the link, no script, and no external resource.
	address, err := url.Parse(l.url)
	if err != nil {
		t.Fatal(err)
	}
	html := ask(t, l.tab, chromedp.OuterHTML(chromedp.CSS("html")))
	query := address.Query()
	for _, hidden := range append(secrets, query.Get("code"), query.Get("state")) {
		if hidden != "" && strings.Contains(html, hidden) {
			t.Error("the page has a code, a state or a secret in it")
		}
	}
	if n := ask(t, l.tab, chromedp.Evaluate[int](`document.scripts.length + document.querySelectorAll("iframe,object,embed,form,link,img").length +
		performance.getEntriesByType("resource").length +
		[...document.querySelectorAll("*")].flatMap(e => [...e.attributes]).filter(a => a.name.startsWith("on")).length`)); n != forms {
		t.Errorf("the page has %d scripts, frames, forms, handlers or things from elsewhere", n)
	}

	for _, look := range []struct {
		name   string
		size   step
		scheme browser.Feature
		shown  bool // in the documentation
	}{
		{"phone-light", browser.Phone(), browser.Light, false},
		{"phone-dark", browser.Phone(), browser.Dark, true},
		{"wide-light", chromedp.EmulateViewport(900, 640), browser.Light, true},
		{"wide-dark", chromedp.EmulateViewport(900, 640), browser.Dark, false},
	} {
		do(t, l.tab, look.size, browser.Media(look.scheme))
		if over := ask(t, l.tab, browser.Overflow()); over > 0 {
			t.Errorf("%s: the page is %d points too wide", look.name, over)
		}
		if ratio := ask(t, l.tab, chromedp.Evaluate[float64](contrast)); ratio < 4.5 {
			t.Errorf("%s: the least contrast of a text is %.2f to 1, want 4.5", look.name, ratio)
		}
		if *update && look.shown && name != "" {
			browser.Save(t, l.tab, filepath.Join(cmp.Or(os.Getenv("SCREENSHOTS"), "../../../docs/screenshots"), "connect-"+name+"-"+look.name+".png"))
		}
	}
	// The dark theme must be dark: a page without one would also pass the contrast check above.
	do(t, l.tab, browser.Media(browser.Dark))
	if light := ask(t, l.tab, chromedp.Evaluate[float64](brightness)); light > 0.2 {
		t.Errorf("in the dark the page's back has a luminance of %.2f", light)
	}
}

// luminance returns the brightness of a color from 0 to 1 (WCAG 2.2, relative luminance).
const luminance = `
	const light = c => {
		const [r, g, b] = c.match(/[\d.]+/g).map(Number).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};`

// brightness is the luminance of the page's background.
const brightness = `(() => {` + luminance + `
	return light(getComputedStyle(document.body).backgroundColor);
})()`

// contrast is the lowest contrast ratio of a text with its background (WCAG 2.2, 1.4.3).
const contrast = `(() => {` + luminance + `
	const behind = e => {
		for (; e; e = e.parentElement) {
			const c = getComputedStyle(e).backgroundColor;
			if (c !== "rgba(0, 0, 0, 0)") return c;
		}
		return "rgb(255, 255, 255)";
	};
	let least = 21;
	for (const e of document.querySelectorAll("h1,p,code,dt,dd,button")) {
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
		least = Math.min(least, (a + 0.05) / (b + 0.05));
	}
	return least;
})()`

func do(t *testing.T, tab context.Context, steps ...step) {
	t.Helper()
	ask(t, tab, chromedp.Steps(steps...))
}
