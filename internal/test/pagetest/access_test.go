package pagetest

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
)

// focus is the approximate accessible name of the focused element.
const focus = `(() => {
	const e = document.activeElement;
	return (e.getAttribute('aria-label') || (e.labels?.[0] || e).textContent).replace(/ optional$/, '').trim().replace(/\s+/g, ' ');
})()`

// tabTo presses Tab until the element with this name has the focus, which must be visible.
func (s *screen) tabTo(name string) {
	s.Helper()
	var passed []string
	for range 40 {
		s.do(chromedp.KeyEvent(kb.Tab))
		now := eval[string](s, focus)
		if now == name {
			if eval[string](s, "getComputedStyle(document.activeElement).outlineStyle") == "none" {
				s.Errorf("nothing shows that %s has the focus", name)
			}
			return
		}
		passed = append(passed, now)
	}
	s.Fatalf("Tab doesn't come to %q, but to %q", name, passed)
}

func (s *screen) keys(text string) { s.Helper(); s.do(chromedp.KeyEvent(text)) }

// byKeyboardAlone sets, rotates and deletes a secret without a mouse.
func byKeyboardAlone(t *testing.T, s *screen) {
	s.wait("document.activeElement === document.querySelector('main input')")
	s.keys(s.TenantKey.Reveal() + kb.Enter)
	s.wait("document.activeElement === document.querySelector('main h1') && document.activeElement.textContent === 'Secrets'")

	if style := eval[string](s, "getComputedStyle(document.activeElement).outlineStyle"); style != "none" {
		t.Errorf("the heading has a focus ring: %s", style)
	}

	s.tabTo("Set a secret")
	s.keys(kb.Enter)
	s.wait(focus + " === 'Name'")
	s.keys("github")
	s.tabTo("Value")
	s.keys("by-hand")
	s.tabTo("Id")
	s.keys(production.ID)
	s.tabTo("Variable")
	s.keys("GH_TOKEN" + kb.Enter)
	s.announced("github is set. It is bound to sandbox " + production.ID + " as GH_TOKEN.")
	s.wait(focus + " === 'Set a secret'")
	if got := s.revealed(production)["GH_TOKEN"]; got != "by-hand" {
		t.Error("another value arrived")
	}

	// Tab stays within an open dialog. Escape closes the dialog and restores the focus.
	s.tabTo("Rotate github")
	s.keys(" ")
	s.wait(focus + " === 'New value'")
	for range 12 {
		s.keys(kb.Tab)
		if !eval[bool](s, "document.activeElement === document.body || !!document.activeElement.closest('dialog')") {
			t.Fatalf("Tab leaves the dialog for %q", eval[string](s, focus))
		}
	}
	s.keys(kb.Escape)
	s.wait("!document.querySelector('dialog') && " + focus + " === 'Rotate github'")

	s.tabTo("Delete github")
	s.keys(kb.Enter)
	s.wait(focus + " === 'Cancel'")
	s.tabTo("Delete it and 1 binding")
	s.keys(kb.Enter)
	s.announced("github is deleted, and 1 binding with it.")
	s.wait("document.activeElement === document.querySelector('main h1')")

	// Each view begins with a link that skips the navigation.
	for range 10 {
		s.do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(kb.ModifierShift)))
		if eval[string](s, focus) == "Skip to the content" {
			break
		}
	}
	s.wait(focus + " === 'Skip to the content'")
	s.keys(kb.Enter)
	s.wait("document.activeElement === document.querySelector('main h1')")
	s.noProblems()
}

// walk visits every view and kind of dialog, with a vault that contains something of everything.
func (s *screen) walk(look func(view string)) {
	s.Helper()
	look("sign-in")
	s.fill("Tenant key", "no key")
	s.press("Sign in")
	s.shows("This is not a key")
	look("sign-in with an error")
	s.signIn()
	for _, view := range []string{"Secrets", "Resources", "Keys", "Network", "Audit", "Connections"} {
		s.press(view)
		s.wait("document.querySelector('main h1').textContent === " + quote(view))
		look(view + ", empty")
	}
	s.shows("No provider is configured")
	s.shows(s.BaseURL + "/egress/oauth/callback")
	demo(s)
	s.press("Refresh")
	s.shows("calendar")
	look("Connections")
	s.press("Keys")
	s.shows(preview.ID)
	look("Keys")
	s.press("Create a key")
	look("creating a key")
	s.choose("For", "managing this tenant")
	s.press("Restrictions")
	look("creating a tenant key")
	s.press("Cancel")
	s.press("Revoke the key " + s.keyID("Tenant key"))
	s.shows("It has created 3 keys")
	look("revoking a key")
	s.press("Cancel")
	demoNetwork(s)
	s.press("Network")
	s.press("Refresh")
	s.shows("registry.example.net")
	look("Network")
	s.press("Allow registry.example.net for computer build-01")
	s.press("Methods, path and note")
	look("allowing a host")
	s.press("Cancel")
	s.press("Change the default policy")
	look("changing a policy")
	s.press("Cancel")
	s.press("Audit")
	s.shows("secret.create")
	look("Audit")
	s.press("Verify the log")
	s.shows("the log is unchanged")
	look("verifying")
	s.close()
	s.press("Resources")
	s.shows(preview.ID)
	look("Resources")
	s.press("Secrets")
	s.shows("github-deploy")
	look("Secrets")
	s.press("Set a secret")
	s.press("Type, owner and expiry")
	s.press("Set the secret")
	s.shows("Name is needed.")
	look("setting a secret")
	s.press("Cancel")
	s.press("Rotate github-deploy")
	s.shows("2 bindings will receive")
	s.choose("Expiry", "at a time")
	look("rotating")
	s.press("Cancel")
	s.press("Bind github-deploy")
	s.choose("Delivery", "a placeholder for the proxy")
	s.press("Where a broker may send it")
	look("binding")
	s.press("Cancel")
	s.press("Restrict payments")
	s.shows("can use it there")
	look("an egress rule")
	s.press("Cancel")
	s.press("Delete github-deploy")
	s.shows("2 bindings will be deleted")
	look("deleting")
	s.press("Cancel")
	s.press("Sign out")
}

// axe checks every view and dialog in both themes.
func axe(t *testing.T, s *screen) {
	path := needs.NPM(t, "axe-core")
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	eval[bool](s, string(source)+";true")
	looked := 0
	s.walk(func(view string) {
		for theme, feature := range map[string]browser.Feature{"light": browser.Light, "dark": browser.Dark} {
			s.do(browser.Media(feature, browser.ReducedMotion))
			violations := eval[[]string](s, `axe.run(document, { resultTypes: ['violations'] }).then((r) =>
				r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + v.help + ': ' + n.target + ': ' + n.failureSummary)))`)
			for _, v := range violations {
				t.Errorf("%s, %s: %s", view, theme, v)
			}
			looked++
		}
	})
	if looked < 20 {
		t.Errorf("looked %d times", looked)
	}
}

// onSmallScreens checks that nothing is wider than a phone's screen, and that rows displayed as cards are still
// table rows to a screen reader.
func onSmallScreens(t *testing.T, s *screen) {
	widths := map[string]chromedp.Action[chromedp.Void]{
		"phone": browser.Phone(), "320": chromedp.EmulateViewport(320, 640), "tablet": chromedp.EmulateViewport(820, 1180),
	}
	s.walk(func(view string) {
		for name, width := range widths {
			s.do(width)
			if over := eval[int](s, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
				t.Errorf("%s, %s: %d points too wide", view, name, over)
			}
			if view == "Secrets" && name == "phone" {
				s.tableIsOne(t)
			}
			small := eval[[]string](s, `[...document.querySelectorAll('button')].filter((e) => e.checkVisibility() && !e.closest('[inert]'))
				.filter((e) => e.getBoundingClientRect().height < 24 || e.getBoundingClientRect().width < 24).map((e) => e.textContent)`)
			if len(small) > 0 {
				t.Errorf("%s, %s: too small to be touched: %s", view, name, strings.Join(small, ", "))
			}
		}
		s.do(chromedp.EmulateViewport(1280, 800))
	})
}

// tableIsOne counts the roles that the browser exposes to screen readers in the table of secrets.
func (s *screen) tableIsOne(t *testing.T) {
	t.Helper()
	roles := map[string]int{}
	s.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		tree, err := cdp.Call(ctx, tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		for _, n := range tree.Nodes {
			if role := strings.Trim(string(n.Role.Value), `"`); !n.Ignored && strings.Contains("table row columnheader rowheader cell", role) {
				roles[role]++
			}
		}
		return err
	}))
	// Nine secrets and the header row; seven columns, of which the first is a row header.
	want := map[string]int{"table": 1, "row": 10, "columnheader": 7, "rowheader": 9, "cell": 54}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Errorf("the table of secrets on a phone (-want +got):\n%s", diff)
	}
}
