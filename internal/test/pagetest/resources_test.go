package pagetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
)

// The view of resources shows what each resource received, and which of it is stale.
func resources(t *testing.T, s *screen) {
	s.signIn()
	s.press("Resources")
	s.shows("Nothing is bound to a sandbox or computer yet.")

	github := s.Put(t, "github", "v", production, "GH_TOKEN")
	s.Put(t, "database", "v", production, "DATABASE_URL")
	s.press("Refresh")
	s.row("GH_TOKEN", "github v1 just now never not received yet")
	s.shows("has never received values")
	s.shows("no key")

	s.revealed(production)
	// The page refreshes by itself, as when a user returns to it.
	eval[bool](s, "document.dispatchEvent(new Event('visibilitychange'))")
	s.row("GH_TOKEN", "github v1 just now v1 up to date")
	s.shows("last received values just now")

	s.Rotate(t, github, "w")
	s.Rotate(t, github, "x")
	s.press("Refresh")
	s.row("GH_TOKEN", "v3 just now v1 stale: has v1, not v3")
	s.row("DATABASE_URL", "up to date")
	s.shows("1 of 2 stale")

	s.revealed(production)
	s.Delete(t, github)
	s.press("Refresh")
	s.shows("It last received 1 value that is no longer bound")
	s.revealed(production)
	s.press("Refresh")
	s.wait("!document.body.innerText.includes('no longer bound')")

	// A reveal with another key of the resource.
	s.shows("up to date")
	opener, err := api.NewOpener(production)
	if err != nil {
		t.Fatal(err)
	}
	key := s.ResourceKey(t, api.Resource{Type: api.Computer, ID: "c_7"})
	ask := opener.Request()
	if status, _ := s.Do(t, key, "POST", "/egress/bindings/reveal", ask); status != 403 {
		t.Fatalf("reveal: status %d", status)
	}
	s.press("Refresh")
	s.shows("A request for its values with another key was denied just now.")
	s.row("DATABASE_URL", "up to date")
	s.shows("Nothing is bound to it.") // c_7 has a key but no bindings

	// After its keys are revoked, the resource keeps its values and receives no new ones.
	var keys struct {
		ResourceKeys []api.IssuedKey `json:"resource_keys"`
	}
	if _, text := s.Do(t, s.TenantKey, "GET", "/egress/resource-keys?resource_id="+production.ID, nil); json.Unmarshal(text, &keys) != nil {
		t.Fatalf("keys: %s", text)
	}
	for _, k := range keys.ResourceKeys {
		s.Revoke(t, k.ID)
	}
	s.press("Refresh")
	s.shows("key no longer valid")
	s.shows("it receives no changes until it has another key")
	s.noProblems()
}

// A refresh without changes modifies no element of the page.
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

// Names are displayed as text, whatever they contain, and the longest name breaks no layout.
func namesOfAllKinds(t *testing.T, s *screen) {
	long := api.Resource{Type: api.Computer, ID: strings.Repeat("c", 128)}
	for i, name := range []string{
		"<img src=x onerror=alert(1)>", "</script><script>document.title = 'run'</script>", strings.Repeat("w", 256), "javascript:alert(1)",
		"ימין לשמאל", strings.Repeat("many words ", 23), "__proto__", "constructor",
	} {
		s.PutSecret(t, map[string]any{
			"name": name, "value": "v", "type": "<b>type</b>", "scope": "external_user", "external_user_id": name, "metadata": map[string]any{"oauth": name},
			"resource_type": long.Type, "resource_id": long.ID, "expose_as_env": strings.Repeat("V", 250) + string(rune('a'+i)),
		})
	}
	s.PutSecret(t, map[string]any{"name": "<i>account</i>", "value": "v", "type": "oauth_connect",
		"metadata": map[string]any{"oauth": map[string]any{"provider": "<i>x</i>", "status": "<i>x</i>", "scopes": []any{"<i>x</i>", 7, strings.Repeat("w", 200)}}}})
	s.signIn()
	for _, view := range []string{"Resources", "Connections", "Secrets"} {
		s.press(view)
		s.wait("document.querySelector('main h1').textContent === " + quote(view))
		s.shows("<i")
		if eval[bool](s, "!!document.querySelector('main :is(i, b, script), main img') || document.title.includes('run')") {
			t.Errorf("%s: a name became markup", view)
		}
		for name, size := range map[string]chromedp.Action[chromedp.Void]{"phone": browser.Phone(), "wide": chromedp.EmulateViewport(1280, 800)} {
			s.do(size)
			if over := eval[int](s, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
				t.Errorf("%s, %s: %d points too wide", view, name, over)
			}
		}
	}
	s.press("Delete " + strings.Repeat("w", 256))
	s.shows("1 binding will be deleted with it")
	s.press("Cancel")
	s.noProblems()
}
