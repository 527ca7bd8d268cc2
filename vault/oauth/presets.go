package oauth

import (
	"maps"
	"slices"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/endpoints"
)

// How a client authenticates at a token endpoint.
const (
	authBasic = "basic" // HTTP Basic, which every server has to accept (RFC 6749)
	authPost  = "post"  // in the body
	authNone  = "none"  // a public client without a secret
)

// preset is the built-in part of a provider's configuration.
type preset struct {
	display          string
	authorize, token string
	issuer           string            // in "iss" of its answers; "": not known
	auth             string            // "": basic
	separator        string            // between scopes; "": a space
	params           map[string]string // of the link, beyond OAuth's
	dialect          dialect           // of its token endpoint
}

func at(display string, e oauth2.Endpoint) preset {
	return preset{display: display, authorize: e.AuthURL, token: e.TokenURL}
}

func (p preset) withIssuer(issuer string) preset { p.issuer = issuer; return p }
func (p preset) post() preset                    { p.auth = authPost; return p }
func (p preset) commas() preset                  { p.separator = ","; return p }
func (p preset) speaking(d dialect) preset       { p.dialect = d; return p }
func (p preset) withParams(pairs ...string) preset {
	p.params = map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		p.params[pairs[i]] = pairs[i+1]
	}
	return p
}

// presets are the built-in providers. Most URLs are those of golang.org/x/oauth2/endpoints; the rest (authentication of the
// client, parameters for a refresh token) is from the providers' documentation.
var presets = map[string]preset{
	"amazon":    at("Amazon", endpoints.Amazon),
	"asana":     at("Asana", endpoints.Asana).post(),
	"bitbucket": at("Bitbucket", endpoints.Bitbucket),
	"discord":   at("Discord", endpoints.Discord),
	// Without token_access_type=offline there is no refresh token.
	"dropbox":  at("Dropbox", endpoints.Dropbox).withParams("token_access_type", "offline"),
	"facebook": at("Facebook", endpoints.Facebook).post(),
	"fitbit":   at("Fitbit", endpoints.Fitbit),
	"github":   at("GitHub", endpoints.GitHub).withIssuer("https://github.com/login/oauth").post(),
	"gitlab":   at("GitLab", endpoints.GitLab).withIssuer("https://gitlab.com").post(),
	// Without access_type=offline there is no refresh token, and without prompt=consent only the first time.
	"google": at("Google", endpoints.Google).withIssuer("https://accounts.google.com").post().
		withParams("access_type", "offline", "prompt", "consent"),
	"heroku": at("Heroku", endpoints.Heroku).post(),
	"linear": at("Linear", oauth2.Endpoint{
		AuthURL: "https://linear.app/oauth/authorize", TokenURL: "https://api.linear.app/oauth/token",
	}).post().commas(),
	"linkedin": at("LinkedIn", endpoints.LinkedIn).post(),
	// For work, school and personal accounts; endpoints.Microsoft is an old one for personal accounts.
	"microsoft": at("Microsoft", endpoints.AzureAD("common")).post(),
	"notion": at("Notion", oauth2.Endpoint{
		AuthURL: "https://api.notion.com/v1/oauth/authorize", TokenURL: "https://api.notion.com/v1/oauth/token",
	}).withParams("owner", "user").speaking(jsonRequests),
	"patreon": at("Patreon", endpoints.Patreon).post(),
	"paypal":  at("PayPal", endpoints.PayPal),
	"slack":   at("Slack", endpoints.Slack).commas().speaking(slackResponses),
	"spotify": at("Spotify", endpoints.Spotify),
	"twitch":  at("Twitch", endpoints.Twitch).post(),
	"x":       at("X", endpoints.X),
}

// presetNames are sorted.
func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }
