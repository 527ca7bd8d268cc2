package pagetest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
)

// Long lists stay usable while they are scrolled, by keyboard, and on a phone.
func longLists(t *testing.T, s *screen) {
	r := func(i int) api.Resource { return api.Resource{Type: api.Sandbox, ID: fmt.Sprintf("sb_%d", i)} }
	for i := range 130 {
		id := s.Put(t, fmt.Sprintf("secret-%03d", i), "v", r(i/4), fmt.Sprintf("VARIABLE_%d", i))
		if i == 40 {
			s.revealed(r(10))
			s.Rotate(t, id, "w")
		}
	}
	s.signIn()
	rows := func(n int) {
		t.Helper()
		s.wait(fmt.Sprintf("document.querySelectorAll('tbody tr').length === %d", n))
	}
	rows(100)

	// Words can be typed one after the other.
	eval[bool](s, find("input", "Find secrets")+".focus(), true")
	s.keys("sb_10 variable_4")
	rows(4)
	s.fill("Find secrets", "")
	rows(100)

	// The stale secret is marked.
	s.choose("Show", "Stale on a resource")
	rows(1)
	s.row("secret-040", "1 binding of secret-040 1 stale")
	s.choose("Show", "All secrets")
	rows(100)

	// The header and the names of the columns stay, and rows are hidden behind neither with the focus.
	eval[bool](s, "scrollTo(0, 3000), true")
	const bottom = "document.querySelector('.top').getBoundingClientRect().bottom"
	s.wait("scrollY > 2000 && document.querySelector('.top').getBoundingClientRect().top === 0")
	s.wait("Math.abs(document.querySelector('thead th').getBoundingClientRect().top - " + bottom + ") < 2")
	eval[bool](s, "document.querySelector('[data-key^=\"Rotate \"]').focus(), true")
	s.wait("document.activeElement.getBoundingClientRect().top >= document.querySelector('thead th').getBoundingClientRect().bottom")

	// More rows: the focus goes to the first new one.
	s.press("Show 30 more")
	rows(130)
	s.wait("document.activeElement.innerText.startsWith('secret-100')")

	// The actions of selected rows are visible where the rows are, and nothing moves when they appear.
	eval[bool](s, "window.before = document.querySelectorAll('tbody tr')[60], window.before.scrollIntoView({ block: 'center' }), window.y = window.before.getBoundingClientRect().y, true")
	s.check("Select secret-060")
	s.shows("1 selected")
	if moved := eval[float64](s, "window.before.getBoundingClientRect().y - window.y"); moved != 0 {
		t.Errorf("the rows move by %v", moved)
	}
	const visible = "(() => { const r = document.querySelector('.selection').getBoundingClientRect(); return r.top > 0 && r.bottom <= innerHeight; })()"
	s.wait(visible)
	s.press("Select all 130")
	s.shows("130 selected")
	s.wait("document.activeElement.textContent === 'Clear the selection'")
	s.press("Clear the selection")
	s.wait("document.querySelectorAll('input:checked').length === 0 && document.activeElement.type === 'search'")

	// On a phone, several rows fit on the screen, each with its state, and the links to the views stay.
	s.do(browser.Phone())
	compact := func(most int) {
		t.Helper()
		if h := eval[float64](s, "document.querySelector('tbody tr').getBoundingClientRect().height"); h > float64(most) {
			t.Errorf("a row is %v points high, want at most %d", h, most)
		}
	}
	compact(140)
	eval[bool](s, "scrollTo(0, 3000), true")
	s.wait("(() => { const r = document.querySelector('nav').getBoundingClientRect(); return scrollY > 2000 && r.top >= -1 && r.bottom < 60; })()")
	s.press("Resources")
	s.shows("33 resources")
	s.choose("Show", "Stale")
	rows(4)
	compact(110)
	s.wait("[...document.querySelectorAll('tbody .state')].filter((e) => e.checkVisibility()).some((e) => e.innerText.includes('stale: has v1, not v2'))")
	s.do(chromedp.EmulateViewport(1280, 800))
	s.noProblems()
}
