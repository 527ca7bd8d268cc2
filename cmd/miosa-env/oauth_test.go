package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// startProvider starts a server that gives a token for the code "good", and returns a configuration of the
// vault that knows it as the provider github.
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

var linkLine = regexp.MustCompile(`(?m)^  (http://\S+/authorize\?\S+)\s*$`)

// consent does what a browser does for a user who allows, denies or runs into a failure, with the link in
// a text.
func (s *scriptVault) consent(how, text string) error {
	found := linkLine.FindStringSubmatch(text)
	if found == nil {
		return errors.New("there is no link")
	}
	link, err := url.Parse(found[1])
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
	client := http.Client{Timeout: 20 * time.Second}
	page, err := client.Get(link.Query().Get("redirect_uri") + "?" + back.Encode())
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, page.Body)
	return page.Body.Close()
}

// Every end of a flow is said in plain words, with what to do next and an exit code of its own.
func TestEndOfFlow(t *testing.T) {
	ended := func(status, word, message string) error {
		return &secrets.FlowError{Status: api.OAuthStatus{Status: status, Error: word, Message: message}}
	}
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"denied", ended(api.FlowDenied, "access_denied", ""), 3, "not connected: access was denied (access_denied)"},
		{"denied, with a sentence", ended(api.FlowDenied, "access_denied", "The user said no."), 3, "not connected: access was denied: The user said no."},
		{"expired", ended(api.FlowFailed, "expired", "Nobody came back in time."), 4, "not connected: nobody used the link before it ended"},
		{"failed", ended(api.FlowFailed, "status_500", ""), 4, "not connected: the provider or the vault failed (status_500)"},
		{"timeout", fmt.Errorf("%w: %w", secrets.ErrFlowTimeout, api.ErrUnavailable), 5, "not connected yet, after 5m0s"},
		{"another", api.NewError(api.ErrNotFound, "no such flow"), 125, "no such flow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := endOf(&secrets.Flow{}, tt.err, 5*time.Minute)
			if diff := cmp.Diff(got.Error(), tt.want); diff != "" || cli.ExitCode(got, inject.ExitFailed) != tt.code {
				t.Errorf("exit code %d, want %d (-got +want)\n%s", cli.ExitCode(got, inject.ExitFailed), tt.code, diff)
			}
			if hint := cli.Hint(got); (hint == "") != (tt.code == 125) || strings.Contains(hint, "0001") {
				t.Errorf("hint %q", hint)
			}
		})
	}
}
