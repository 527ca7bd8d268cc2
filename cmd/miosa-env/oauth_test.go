package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// startProvider starts a server that returns a token for the code "good", and returns the vault's configuration
// with it as the provider github.
func startProvider(t *testing.T) (config string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("code") != "good" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error": "invalid_grant"}`)
			return
		}
		fmt.Fprint(w, `{"access_token": "canary-access-token", "token_type": "bearer", "refresh_token": "canary-refresh", "expires_in": 3600}`)
	}))
	t.Cleanup(server.Close)
	return fmt.Sprintf(`
[[provider]]
name = "github"
display_name = "GitHub"
authorize_url = "%s/authorize"
token_url = "%[1]s/token"
client_id = "miosa"
client_auth = "none"
scopes = ["repo", "read:org"]
`, server.URL)
}

var linkLine = regexp.MustCompile(`(?m)^  (http://\S+/oauth/connect\?\S+)\s*$`)

// consent acts as the browser of a user who allows, denies or fails, with the link in text.
func (s *scriptVault) consent(how, text string) error {
	found := linkLine.FindStringSubmatch(text)
	if found == nil {
		return errors.New("there is no link")
	}
	browser := vaulttest.Browser()
	link, err := vaulttest.Continue(browser, found[1])
	if err != nil {
		return err
	}
	back := url.Values{"state": {link.Query().Get("state")}}
	switch how {
	case "allows":
		back.Set("code", "good")
	case "denies":
		back.Set("error", "access_denied")
	case "fails":
		back.Set("code", "bad")
	default:
		return errors.New("a user allows, denies or fails")
	}
	page, err := browser.Get(link.Query().Get("redirect_uri") + "?" + back.Encode())
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, page.Body)
	return page.Body.Close()
}
