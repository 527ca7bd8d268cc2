package pagetest

import (
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// What each resource took, and what of it is stale, is told as it is.
func resources(t *testing.T, s *screen) {
	s.signIn()
	s.press("Resources")
	s.shows("Nothing is bound to a sandbox or computer yet.")

	github := s.Put(t, "github", "v", production, "GH_TOKEN")
	s.Put(t, "database", "v", production, "DATABASE_URL")
	s.press("Refresh")
	s.row("GH_TOKEN", "github v1 just now never not taken yet")
	s.shows("never took anything")
	s.shows("has no key")

	s.revealed(production)
	// The page looks by itself, as it does when somebody comes back to it.
	eval[bool](s, "document.dispatchEvent(new Event('visibilitychange'))")
	s.row("GH_TOKEN", "github v1 just now v1 up to date")
	s.shows("last took its secrets just now")

	s.Rotate(t, github, "w")
	s.Rotate(t, github, "x")
	s.press("Refresh")
	s.row("GH_TOKEN", "v3 just now v1 stale: has v1, v3 stands")
	s.row("DATABASE_URL", "up to date")
	s.shows("1 of 2 stale")

	s.revealed(production)
	s.Delete(t, github)
	s.press("Refresh")
	s.shows("It last took 1 value that is no longer bound")
	s.revealed(production)
	s.press("Refresh")
	s.wait("!document.body.innerText.includes('no longer bound')")

	// Another resource's key is refused at this one: that is told where it happened.
	other := api.Resource{Type: api.Computer, ID: "c_7"}
	s.Put(t, "other", "v", other, "OTHER")
	key := s.ResourceKey(t, other)
	if status, _ := s.Do(t, key, "GET", "/egress/secrets", nil); status != 403 {
		t.Fatalf("status %d", status)
	}
	s.press("Refresh")
	s.row("OTHER", "not taken yet")
	s.noProblems()
}

// Nothing on the page is touched by a look that finds nothing new.
func quietRefresh(t *testing.T, s *screen) {
	id := s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.row("github", "v1")
	eval[bool](s, "window.before = document.querySelector('tbody tr'), document.querySelector('[data-key^=Rotate]').focus(), true")
	asked := s.Requests("GET /egress/audit")
	eval[bool](s, "document.dispatchEvent(new Event('visibilitychange'))")
	for s.Requests("GET /egress/audit") == asked {
		eval[bool](s, "new Promise((done) => setTimeout(() => done(true), 20))")
	}
	eval[bool](s, "new Promise((done) => setTimeout(() => done(true), 200))")
	if !eval[bool](s, "window.before.isConnected && document.activeElement.textContent === 'Rotate github'") {
		t.Error("the row was made anew")
	}
	s.Rotate(t, id, "w")
	eval[bool](s, "document.dispatchEvent(new Event('visibilitychange'))")
	s.row("github", "v2")
	if !eval[bool](s, "!window.before.isConnected && document.activeElement.textContent === 'Rotate github'") {
		t.Error("the focus got lost in a change")
	}
	s.noProblems()
}
