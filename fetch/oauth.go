package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// Providers lists the OAuth providers of the vault.
func (c *Client) Providers(ctx context.Context) ([]api.Provider, error) {
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/oauth/providers"}, list[api.Provider]("providers"))
	for i := range all {
		if all[i].Scopes == nil {
			all[i].Scopes = []string{} // some vaults don't return it
		}
	}
	return all, err
}

// StartOAuth starts a flow. The user opens its AuthorizeURL, which is http or https and printable. The call isn't retried
// after the vault may have received it, so that no second flow is left open.
func (c *Client) StartOAuth(ctx context.Context, r api.OAuthRequest) (api.OAuthStart, error) {
	start, err := do(ctx, c, call{method: http.MethodPost, path: "/egress/oauth/start", unsafe: true, json: r}, started)
	start.Provider = cmp.Or(start.Provider, r.Provider) // some vaults don't return it
	return start, err
}

// started decodes the start of a flow, at the top level or in "data".
func started(body []byte) (api.OAuthStart, error) {
	for _, text := range [][]byte{body, unwrap(body, "data")} {
		var got struct {
			api.OAuthStart
			Camel     string        `json:"authorizeUrl"`
			ExpiresAt api.LooseTime `json:"expires_at"`
		}
		if json.Unmarshal(text, &got) != nil {
			continue
		}
		got.AuthorizeURL, got.OAuthStart.ExpiresAt = cmp.Or(got.AuthorizeURL, got.Camel), got.ExpiresAt.Time
		if forBrowser(got.AuthorizeURL) && printable(got.State) {
			return got.OAuthStart, nil
		}
	}
	return api.OAuthStart{}, notContract(body)
}

// forBrowser reports whether a URL may be shown to the user and opened. A browser may run a program for other schemes.
func forBrowser(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && printable(text)
}

// printable reports whether s is one or more visible ASCII characters.
func printable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// words maps other names of a flow's final status, which SDKs accept, to the API's.
var words = map[string]string{"ready": api.FlowCompleted, "succeeded": api.FlowCompleted, "error": api.FlowFailed}

// OAuthStatus returns the status of the flow with this state. Errors: api.ErrNotFound if there is none.
func (c *Client) OAuthStatus(ctx context.Context, state string) (api.OAuthStatus, error) {
	if state == "" {
		return api.OAuthStatus{}, api.NewError(api.ErrInvalid, "a flow's state is required")
	}
	k := call{
		method: http.MethodGet, path: "/egress/oauth/status", query: url.Values{"state": {state}},
		private: []api.Value{api.NewValue([]byte(state))},
	}
	return do(ctx, c, k, func(body []byte) (api.OAuthStatus, error) {
		for _, text := range [][]byte{body, unwrap(body, "data")} {
			var got api.OAuthStatus
			if json.Unmarshal(text, &got) != nil || got.Status == "" {
				continue
			}
			for field, limit := range map[*string]int{
				&got.Status: 80, &got.Provider: 80, &got.SecretID: 300, &got.Error: 80, &got.Message: 300,
			} {
				*field = c.clean(*field, limit, k) // shown to users
			}
			got.Status = cmp.Or(words[got.Status], got.Status)
			return got, nil
		}
		return api.OAuthStatus{}, notContract(body)
	})
}
