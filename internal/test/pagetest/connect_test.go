package pagetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// acme returns a vault's configuration with server as its only provider.
func acme(t *testing.T, server *authserver.Server) vaulttest.Option {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "client.secret")
	if err := os.WriteFile(secret, []byte(server.Basic.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return vaulttest.WithOAuth(t, fmt.Sprintf(`
[[provider]]
name = "acme"
display_name = "Acme"
issuer = %q
client_id = %q
client_secret_file = %q
scopes = ["openid", "offline_access", "repo"]
authorize_params = { prompt = "consent" }
`, server.Issuer, server.Basic.ID, secret))
}

// follow clicks the link to the provider and returns the new tab.
func (s *screen) follow(name string) context.Context {
	s.Helper()
	opened := chromedp.WaitNewTarget(s.ctx, func(i *target.Info) bool { return i.Type == "page" })
	s.press(name)
	select {
	case id := <-opened:
		tab, end := chromedp.NewContext(s.ctx, chromedp.WithTargetID(id))
		s.Cleanup(end)
		return tab
	case <-time.After(patience):
		s.Fatal("no tab opens")
		return nil
	}
}

// at performs steps in the provider's tab, waits until it is back at the vault, and closes it.
func (s *screen) at(tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	s.Helper()
	ctx, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, append([]chromedp.Action[chromedp.Void]{browser.Continue()}, steps...)...); err != nil {
		s.Fatal(err)
	}
	for back := "location.href.startsWith(" + quote(s.BaseURL+"/egress/oauth/callback") + ") && document.readyState === 'complete'"; ; {
		there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](back))
		if there {
			break
		}
		if ctx.Err() != nil {
			s.Fatalf("the provider didn't send the browser back: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if opener, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("window.opener !== null")); err != nil || opener {
		s.Errorf("the provider's tab can reach the page's (%v)", err)
	}
	if err := chromedp.Cancel(tab); err != nil {
		s.Error(err)
	}
}

// An account is connected, declined, reconnected and left to expire, with a real authorization server.
func TestConnect(t *testing.T) {
	server := authserver.Start(t, authserver.Config{})
	ctx := browser.Start(t)
	t.Run("connected", func(t *testing.T) {
		s := open(ctx, t, acme(t, server))
		server.AllowRedirect(t, s.BaseURL+"/egress/oauth/callback")
		s.signIn()
		s.press("Connections")
		s.shows("Connect an account")

		s.press("Connect Acme")
		s.fill("Id", production.ID)
		s.press("Continue")
		s.shows("Variable is needed to bind it.")
		s.fill("Variable", "ACME_TOKEN")
		s.press("Continue")
		s.shows("Waiting for you to sign in.")
		s.at(s.follow("Sign in at Acme in a new tab"), authserver.SignIn("ada"), authserver.Allow())
		s.shows("Acme is connected.")
		s.wait("document.activeElement.textContent === 'Close'")
		s.close()
		s.row("acme", "connected")
		s.row("acme", "1 binding of acme v1 just now")
		token := s.revealed(production)["ACME_TOKEN"]
		if status, who := server.UserInfo(t, token); status != 200 || who != "ada" {
			t.Errorf("the token isn't ada's: status %d", status)
		}
		s.holdsNot("the token", token)

		// Again with the same binding: another secret and no second connection.
		s.press("Reconnect acme")
		s.shows("Waiting for you to sign in.")
		s.at(s.follow("Sign in at Acme in a new tab"), authserver.Allow())
		s.shows("Acme is connected.")
		s.close()
		s.row("acme", "v1 just now")
		if n := eval[int](s, "document.querySelectorAll('tbody tr').length"); n != 1 {
			t.Errorf("%d connections", n)
		}

		// Declined.
		s.press("Connect Acme")
		s.press("Continue")
		s.at(s.follow("Sign in at Acme in a new tab"), chromedp.WaitReady(chromedp.CSS("[value=consent]")), authserver.Deny())
		s.wait("document.querySelector('dialog .error')?.checkVisibility()")
		alert := eval[string](s, "document.querySelector('dialog .error').textContent")
		if len(alert) < 20 {
			t.Errorf("message for a denial %q", alert)
		}
		s.close()
		s.noProblems()
	})
	t.Run("too late", func(t *testing.T) {
		s := open(ctx, t, acme(t, server), vaulttest.WithFlowTime(time.Second))
		s.signIn()
		s.press("Connections")
		s.press("Connect Acme")
		s.press("Continue")
		s.shows("The time to sign in has run out.")
		s.close()
		s.noProblems()
	})
	t.Run("the provider is away", func(t *testing.T) {
		s := open(ctx, t, acme(t, server))
		server.Stop(t)
		s.signIn()
		s.press("Connections")
		s.press("Connect Acme")
		s.press("Continue")
		s.wait("document.querySelector('dialog [role=alert]')?.checkVisibility()")
		s.noProblems(503)
	})
}
