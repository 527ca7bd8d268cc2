package pagetest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var update = flag.Bool("update", false, "write the pictures in docs/screenshots anew")

// The screenshots of docs/page.md, which together cover both sizes and both themes of each view. Nothing compares
// them; they are for visual checks. With SCREENSHOTS set to a folder, all variants of every view are written there
// instead.
func TestScreenshots(t *testing.T) {
	needs.Option(t, *update, "-update", "it writes pictures")
	secret := filepath.Join(t.TempDir(), "client.secret")
	if err := os.WriteFile(secret, []byte("an example"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(browser.Start(t), t, vaulttest.WithOAuth(t, fmt.Sprintf(`
[[provider]]
preset = "github"
client_id = "example"
client_secret_file = %[1]q
scopes = ["repo", "read:org"]

[[provider]]
preset = "google"
client_id = "example"
client_secret_file = %[1]q
scopes = ["openid", "email"]
`, secret)))
	folder, all := os.Getenv("SCREENSHOTS"), true
	if folder == "" {
		folder, all = "../../../docs/screenshots", false
	}
	sizes := map[string]chromedp.Action[chromedp.Void]{
		"wide": chromedp.EmulateViewport(1280, 800), "tablet": chromedp.EmulateViewport(820, 1180), "phone": browser.Phone(),
	}
	themes := map[string]browser.Feature{"light": browser.Light, "dark": browser.Dark}
	take := func(name string, looks ...string) {
		t.Helper()
		if all {
			looks = []string{"wide-light", "wide-dark", "tablet-light", "phone-light", "phone-dark"}
		}
		for _, look := range looks {
			size, theme, _ := strings.Cut(look, "-")
			s.do(sizes[size], browser.Media(themes[theme]), chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 1, 1))
			eval[bool](s, "document.activeElement.blur(), scrollTo(0, 0), new Promise((done) => setTimeout(() => done(true), 400))")
			picture, err := chromedp.Run(s.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			save(t, filepath.Join(folder, name+"-"+look+".png"), picture)
		}
		s.do(sizes["wide"])
	}
	take("sign-in", "wide-light", "phone-dark")
	if all {
		s.press("Where do I get a key?")
		s.fill("Tenant key", s.ResourceKey(t, production).Reveal())
		s.press("Sign in")
		take("sign-in-error")
		s.signIn()
		s.wait("document.querySelector('.first')")
		take("first")
		s.press("Sign out")
	}
	demo(s)
	s.signIn()
	s.shows("github-deploy")
	take("secrets", "wide-light", "phone-dark")
	s.press("Resources")
	s.shows(preview.ID)
	take("resources", "wide-dark", "phone-light")
	s.press("Connections")
	s.shows("calendar")
	take("connections")
	s.press("Keys")
	s.shows(preview.ID)
	if all {
		s.press("Create a key")
		s.choose("For", "managing this tenant")
		s.press("Restrictions")
		take("key")
		s.press("Cancel")
		s.press("Revoke the key " + s.keyID("Tenant key"))
		take("revoke")
		s.press("Cancel")
	}
	take("keys", "wide-light", "phone-dark")
	demoNetwork(s)
	s.press("Network")
	s.shows("registry.example.net")
	take("network", "wide-light")
	if all {
		s.press("Allow registry.example.net for computer build-01")
		take("allow")
		s.press("Cancel")
		s.press("Secrets")
		s.press("Restrict payments")
		s.shows("can use it there")
		take("rule")
		s.press("Cancel")
	}
	s.press("Audit")
	s.shows("secret.create")
	take("audit", "wide-light")
	s.press("Connections")
	if all {
		s.press("Connect GitHub")
		take("connect")
		s.press("Continue")
		s.shows("Waiting")
		take("wait")
		s.press("Cancel")
	}
	s.press("Secrets")
	s.press("Delete github-deploy")
	s.shows("2 bindings will be deleted")
	take("delete")
	s.press("Cancel")
	s.press("Set a secret")
	s.fill("Name", "invoices")
	s.fill("Value", "an example and no key at all")
	s.fill("Id", preview.ID)
	s.fill("Variable", "INVOICES_KEY")
	take("dialog", "wide-dark", "phone-light")
	if all {
		s.press("Type, owner and expiry")
		s.press("Several lines in value")
		s.fill("Variable", "1")
		s.press("Set the secret")
		take("dialog-error")
		s.fill("Variable", "INVOICES")
		s.press("Set the secret")
		s.announced("invoices is set")
		take("told")
		s.press("Rotate invoices")
		s.choose("Expiry", "at a time")
		take("rotate")
	}
}
