package authserver

import "github.com/chromedp/chromedp"

// SignIn waits for the server's sign-in page and signs in with any name.
func SignIn(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.WaitVisible(chromedp.CSS(`input[name=login]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=login]`), name),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), "any"),
		chromedp.Click(chromedp.CSS(`button[type=submit]`)),
	)
}

// Allow waits for the consent page and consents.
func Allow() chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.WaitReady(chromedp.CSS(`input[name=prompt][value=consent]`)),
		chromedp.Click(chromedp.CSS(`button[type=submit]`)),
	)
}

// Deny cancels on the sign-in or consent page.
func Deny() chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(`a[href$="/abort"]`))
}
