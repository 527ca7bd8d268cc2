package pagetest

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

const password = `document.querySelector('main input').type === 'password' && document.querySelector('main input').autocomplete === 'off'`

func signIn(t *testing.T, s *screen) {
	if !eval[bool](s, password) {
		t.Error("the key's field isn't a password's")
	}
	refused := func(key, text string) {
		t.Helper()
		s.fill("Tenant key", key)
		s.press("Sign in")
		s.shows(text)
		s.wait("document.activeElement === document.querySelector('main input') && document.activeElement.ariaInvalid === 'true'")
		if eval[bool](s, "document.querySelector('.top').checkVisibility()") {
			t.Errorf("signed in, though %q", text)
		}
	}
	s.press("Sign in")
	s.shows("Tenant key is needed.")
	refused("an example", "This is not a key")
	refused(api.NewKey(api.TenantKeyPrefix).Reveal(), "This key is unknown, revoked or expired.")
	if s.Requests("GET /egress/keys/self") != 1 {
		t.Errorf("the vault was asked %d times about what can't be a key", s.Requests("GET /egress/keys/self")-1)
	}
	s.holdsNot("a wrong key", api.TenantKeyPrefix+"_")
	refused(s.ResourceKey(t, production).Reveal(), "This is a resource key")

	s.signIn()
	s.shows("There are no secrets yet.")
	s.wait("document.activeElement === document.querySelector('main h1')")
	for _, view := range []string{"Resources", "Connections", "Secrets"} {
		s.press(view)
		s.wait("document.querySelector('main h1').textContent === " + quote(view) + " && document.title.startsWith(" + quote(view) + ")")
		s.wait("document.querySelector('nav [aria-current=page]').textContent === " + quote(view))
		s.holdsNot("the key", s.TenantKey.Reveal())
	}

	s.press("Sign out")
	s.wait(password)
	s.holdsNot("the key", s.TenantKey.Reveal())
	s.wait("document.getElementById('notice').textContent === ''")
	asked := s.Requests("GET /egress/secrets")
	eval[bool](s, "document.dispatchEvent(new Event('visibilitychange'))")
	eval[bool](s, "new Promise((done) => setTimeout(() => done(true), 300))")
	if now := s.Requests("GET /egress/secrets"); now != asked {
		t.Error("the page goes on asking after signing out")
	}

	s.signIn()
	s.do(chromedp.Reload())
	s.wait(password)
	s.holdsNot("the key", s.TenantKey.Reveal())
	s.noProblems(401)
}

// A page that is left and restored from the browser's cache no longer has the key.
func leavingForgets(t *testing.T, s *screen) {
	s.signIn()
	s.do(chromedp.Navigate("about:blank"))
	// A restored page fires no load event, for which chromedp's own action would wait.
	eval[bool](s, "setTimeout(() => history.back(), 10), true")
	s.wait("location.pathname === '/'")
	s.wait("document.querySelector('main h1')")
	s.wait(password)
	s.noProblems()
}

// When the key is revoked during a session, the session ends and the page says why.
func keyIsRevoked(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.shows("github")
	s.press("Rotate github")
	s.fill("New value", "other")
	store := s.Vault().Store()
	keys, err := store.Keys(context.Background(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := store.RevokeKey(context.Background(), k.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.press("Rotate")
	s.shows("The key is no longer valid")
	s.wait(password + " && !document.querySelector('dialog') && document.activeElement === document.querySelector('main input')")
	s.holdsNot("what was shown", "github")
	s.noProblems(401)
}

// While the vault is unavailable, the page says that its data is old, and it recovers by itself.
func outage(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.shows("github")
	s.Stop(t)
	s.press("Refresh")
	s.shows("The vault does not respond.")
	s.shows("Out of date")
	s.shows("github")
	s.Restart(t)
	s.Put(t, "gitlab", "v", production, "GL_TOKEN")
	eval[bool](s, "document.dispatchEvent(new Event('visibilitychange'))")
	s.shows("gitlab")
	s.wait("!document.getElementById('fresh').classList.contains('stale')")
}

// Before the first response, the page does not claim that the vault is empty.
func TestBeforeTheFirstResponse(t *testing.T) {
	s := open(browser.Start(t), t, func(c *vault.Config) { c.Limits[limit.KeyRequests], c.Limits[limit.KeyBurst] = 2, 2 })
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.shows("The vault has not responded yet.")
	s.shows(": try again in 1 s.")
	if eval[bool](s, "document.body.innerText.includes('There are no secrets yet')") {
		t.Error("the page claims that there is nothing")
	}
	s.noProblems(429)
}

// A request that a limit refuses shows which limit, in the dialog, and keeps what was entered but the value.
func TestLimitReached(t *testing.T) {
	s := open(browser.Start(t), t, func(c *vault.Config) { c.Limits[limit.TenantSecrets] = 1 })
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.press("Set a secret")
	s.fill("Name", "gitlab")
	s.fill("Value", "w")
	s.press("Set the secret")
	s.shows("This tenant has too many secrets: delete some (limit tenant_secrets: 1). The value was removed from the form")
	s.wait(find("input", "Name") + ".value === 'gitlab'")
	s.noProblems(422)
}
