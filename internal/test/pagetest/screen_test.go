package pagetest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// patience is the limit for what should happen at once.
const patience = 15 * time.Second

// screen is the page in a browser tab, with its own vault.
type screen struct {
	testing.TB
	*vaulttest.Server
	ctx    context.Context
	before int // number of problems of the browser before this test
}

// open starts a vault and opens its page in an isolated tab of the browser of ctx.
func open(ctx context.Context, t testing.TB, opts ...vaulttest.Option) *screen {
	t.Helper()
	s := &screen{TB: t, ctx: browser.Tab(t, ctx, chromedp.WithNewBrowserContext()), before: len(browser.Problems(ctx))}
	s.Server = vaulttest.Start(t, opts...)
	s.do(chromedp.Navigate(s.address()))
	s.wait(`document.querySelector('main h1')`)
	return s
}

// address returns the page's address.
func (s *screen) address() string { return strings.TrimSuffix(s.BaseURL, "api/v1") }

func (s *screen) do(steps ...chromedp.Action[chromedp.Void]) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		s.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](s *screen, expression string) T {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		s.Fatalf("%.200s: %v", expression, err)
	}
	return got
}

// wait waits until an expression in the page is true.
func (s *screen) wait(condition string) {
	s.Helper()
	if !poll.Within(patience, func() bool { return eval[bool](s, "!!("+condition+")") }) {
		s.Fatalf("waited for %s; the page says:\n%s", condition, eval[string](s, "document.body.innerText"))
	}
}

func quote(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// shows waits until the page, or the open dialog, shows a text.
func (s *screen) shows(text string) {
	s.Helper()
	s.wait(fmt.Sprintf("(document.querySelector('dialog') || document.body).innerText.includes(%s)", quote(text)))
}

// announced waits until the live region contains a text and the dialog is closed.
func (s *screen) announced(text string) {
	s.Helper()
	s.wait(fmt.Sprintf("document.getElementById('notice').textContent.includes(%s) && !document.querySelector('dialog')", quote(text)))
}

// find returns an expression for a control by its accessible name, in the open dialog if there is one.
func find(selector, name string) string {
	return fmt.Sprintf(`[...(document.querySelector('dialog') || document).querySelectorAll(%s)].find((e) =>
		e.checkVisibility() && (e.getAttribute('aria-label') || (e.labels?.[0] || e).textContent).replace(/ optional$/, '').trim().replace(/\s+/g, ' ') === %s)`,
		quote(selector), quote(name))
}

// press clicks a button or link with the mouse.
func (s *screen) press(name string) {
	s.Helper()
	control := find("button, a, summary", name)
	s.wait(control)
	at := eval[[]float64](s, `(() => {
		const e = `+control+`;
		e.scrollIntoView({ block: 'center', behavior: 'instant' });
		const r = e.getBoundingClientRect();
		return [r.x + r.width / 2, r.y + r.height / 2];
	})()`)
	s.do(chromedp.MouseClickXY(at[0], at[1]))
}

// close closes the dialog and waits until it has gone: it is removed in an event after the click.
func (s *screen) close() {
	s.Helper()
	s.press("Close")
	s.wait("!document.querySelector('dialog')")
}

// fill replaces the contents of the field with that label by typing.
func (s *screen) fill(label, text string) {
	s.Helper()
	control := find("input, textarea", label)
	s.wait(control)
	eval[bool](s, control+".focus(), "+control+".select(), true")
	s.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// choose selects an option by its text.
func (s *screen) choose(label, option string) {
	s.Helper()
	control := find("select", label)
	s.wait(control)
	eval[bool](s, `(() => {
		const e = `+control+`;
		e.value = [...e.options].find((o) => o.text === `+quote(option)+`).value;
		return e.dispatchEvent(new Event('change', { bubbles: true }));
	})()`)
}

// signIn signs in with the tenant key.
func (s *screen) signIn() {
	s.Helper()
	s.enter(s.TenantKey)
	s.wait("document.querySelector('.top').checkVisibility() && document.querySelector('main h1').textContent === 'Secrets'")
}

func (s *screen) enter(key api.Key) {
	s.Helper()
	s.fill("Tenant key", key.Reveal())
	s.press("Sign in")
}

// revealed returns what a reveal of a resource, with a new key, returns now, name to value.
func (s *screen) revealed(r api.Resource) map[string]string { s.Helper(); return s.reveals(r)() }

// reveals returns a function that reveals with one key.
func (s *screen) reveals(r api.Resource) func() map[string]string {
	s.Helper()
	key := s.ResourceKey(s, r)
	return func() map[string]string { s.Helper(); return s.revealedTo(key, r) }
}

func (s *screen) revealedTo(key api.Key, r api.Resource) map[string]string {
	s.Helper()
	opener, err := api.NewOpener(r)
	if err != nil {
		s.Fatal(err)
	}
	status, text := s.Do(s, key, "POST", "/egress/bindings/reveal", opener.Request())
	var answer api.RevealAnswer
	if err := json.Unmarshal(text, &answer); err != nil || status != 200 {
		s.Fatalf("reveal: status %d: %v", status, err)
	}
	snapshot, err := opener.Open(answer)
	if err != nil {
		s.Fatal(err)
	}
	values := map[string]string{}
	for _, b := range snapshot.Bound {
		values[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return values
}

// noProblems fails the test for the browser's problems, except for responses of the API with an expected status,
// which Chromium reports as errors.
func (s *screen) noProblems(expected ...int) {
	s.Helper()
	for _, p := range browser.Problems(s.ctx)[s.before:] {
		if strings.HasSuffix(p.URL, "/oauth/providers") && strings.Contains(p.Text, "404") {
			continue // a vault without OAuth
		}
		ok := false
		for _, status := range expected {
			ok = ok || p.Source == "network" && strings.Contains(p.URL, "/api/v1/") && strings.Contains(p.Text, fmt.Sprint(status))
		}
		if !ok {
			s.Errorf("the page has a problem: %s", p)
		}
	}
}

// holdsNot fails the test if the page, its storage or its address contains a text.
func (s *screen) holdsNot(what, text string) {
	s.Helper()
	for name, place := range map[string]string{
		"the document":     `document.documentElement.outerHTML + [...document.querySelectorAll('input, textarea')].map((e) => e.value).join('\n')`,
		"the address":      `location.href + JSON.stringify(history.state) + document.referrer + window.name + document.title`,
		"cookies":          `document.cookie`,
		"local storage":    `JSON.stringify({ ...localStorage })`,
		"session storage":  `JSON.stringify({ ...sessionStorage })`,
		"databases":        `indexedDB.databases().then(JSON.stringify)`,
		"caches":           `caches.keys().then(JSON.stringify)`,
		"global variables": `JSON.stringify(Object.keys(window).filter((k) => typeof window[k] === 'string').map((k) => window[k]))`,
	} {
		if held := eval[string](s, place); strings.Contains(held, text) {
			s.Errorf("%s holds %s", name, what)
		}
	}
}
