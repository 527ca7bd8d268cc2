package vaulttest

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// Browser returns a client that keeps cookies, as a user's browser does.
func Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it has no reason to fail
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

// Continue presses the button of the page that a flow begins at, and returns the provider's link.
func Continue(browser *http.Client, link string) (*url.URL, error) {
	res, err := browser.PostForm(link, nil)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	_, to, ok := strings.Cut(res.Header.Get("Refresh"), "0; url=")
	if !ok {
		return nil, fmt.Errorf("the page leads nowhere: status %d", res.StatusCode)
	}
	return url.Parse(to)
}
