package browser

import "github.com/chromedp/chromedp"

// Continue waits for the vault's page that names who gets access, and presses its button.
func Continue() chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.WaitVisible(chromedp.CSS("main.ask form button")),
		chromedp.Click(chromedp.CSS("main.ask form button")),
	)
}
