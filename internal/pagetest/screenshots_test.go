package pagetest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/internal/browser"
)

var update = flag.Bool("update", false, "write the pictures in docs/screenshots anew")

// The pictures of docs/page.md, each view in both sizes and both themes between them. Nothing compares
// them: they are looked at. With SCREENSHOTS set to a folder, all of every view are written there instead.
func TestScreenshots(t *testing.T) {
	if !*update {
		t.Skip("pictures are made with -update")
	}
	s := open(browser.Start(t), t)
	demo(s)
	folder, all := os.Getenv("SCREENSHOTS"), true
	if folder == "" {
		folder, all = "../../docs/screenshots", false
	}
	wide := chromedp.EmulateViewport(1280, 800)
	take := func(name string, looks ...string) {
		t.Helper()
		if all {
			looks = []string{"wide-light", "wide-dark", "phone-light", "phone-dark"}
		}
		for _, look := range looks {
			size, theme := wide, browser.Light
			if look[:4] != "wide" {
				size = browser.Phone()
			}
			if look[len(look)-4:] == "dark" {
				theme = browser.Dark
			}
			s.do(size, browser.Media(theme), chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 1, 1))
			eval[bool](s, "document.activeElement.blur(), scrollTo(0, 0), new Promise((done) => setTimeout(() => done(true), 400))")
			picture, err := chromedp.Run(s.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			save(t, filepath.Join(folder, name+"-"+look+".png"), picture)
		}
		s.do(wide)
	}
	take("sign-in", "wide-light", "phone-dark")
	s.signIn()
	s.shows("github-deploy")
	take("secrets", "wide-light", "phone-dark")
	s.press("Resources")
	s.shows(preview.ID)
	take("resources", "wide-dark", "phone-light")
	s.press("Connections")
	s.shows("calendar")
	take("connections")
	s.press("Secrets")
	s.press("Delete github-deploy")
	s.shows("2 bindings will go")
	take("delete")
	s.press("Cancel")
	s.press("Set a secret")
	s.fill("Name", "payments")
	s.fill("Value", "an example and no key at all")
	s.fill("Id", preview.ID)
	s.fill("Variable", "PAYMENTS_KEY")
	take("dialog", "wide-dark", "phone-light")
}
