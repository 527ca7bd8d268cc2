package authserver

import "github.com/chromedp/chromedp"

// SignIn fills in the server's page to sign in as somebody; any name will do. It waits for the page.
func SignIn(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.WaitVisible(chromedp.CSS(`input[name=login]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=login]`), name),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), "any"),
		chromedp.Click(chromedp.CSS(`button[type=submit]`)),
	)
}

// Allow consents on the server's page that asks for it. It waits for that page.
func Allow() chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.WaitReady(chromedp.CSS(`input[name=prompt][value=consent]`)),
		chromedp.Click(chromedp.CSS(`button[type=submit]`)),
	)
}

// Deny refuses on the page that asks to sign in or to consent.
func Deny() chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(`a[href$="/abort"]`))
}
