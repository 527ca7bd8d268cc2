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

// authStyles are the styles for x/oauth2.
var authStyles = map[string]oauth2.AuthStyle{
	authBasic: oauth2.AuthStyleInHeader, authPost: oauth2.AuthStyleInParams, authNone: oauth2.AuthStyleInParams,
}

// preset is the built-in part of a provider's configuration.
type preset struct {
	display   string
	at        oauth2.Endpoint
	issuer    string            // in "iss" of its answers; "": not known
	auth      string            // "": basic
	separator string            // between scopes; "": a space
	params    map[string]string // of the link, beyond OAuth's
	dialect   dialect           // of its token endpoint; nil: RFC 6749
}

// presets are the built-in providers. Most URLs are those of golang.org/x/oauth2/endpoints; the rest (authentication of the
// client, parameters for a refresh token) is from the providers' documentation.
var presets = map[string]preset{
	"amazon":    {display: "Amazon", at: endpoints.Amazon},
	"asana":     {display: "Asana", at: endpoints.Asana, auth: authPost},
	"bitbucket": {display: "Bitbucket", at: endpoints.Bitbucket},
	"discord":   {display: "Discord", at: endpoints.Discord},
	// Without token_access_type=offline there is no refresh token.
	"dropbox":  {display: "Dropbox", at: endpoints.Dropbox, params: map[string]string{"token_access_type": "offline"}},
	"facebook": {display: "Facebook", at: endpoints.Facebook, auth: authPost},
	"fitbit":   {display: "Fitbit", at: endpoints.Fitbit},
	"github":   {display: "GitHub", at: endpoints.GitHub, issuer: "https://github.com/login/oauth", auth: authPost},
	"gitlab":   {display: "GitLab", at: endpoints.GitLab, issuer: "https://gitlab.com", auth: authPost},
	// Without access_type=offline there is no refresh token, and without prompt=consent only the first time.
	"google": {display: "Google", at: endpoints.Google, issuer: "https://accounts.google.com", auth: authPost,
		params: map[string]string{"access_type": "offline", "prompt": "consent"}},
	"heroku": {display: "Heroku", at: endpoints.Heroku, auth: authPost},
	"linear": {display: "Linear", auth: authPost, separator: ",",
		at: oauth2.Endpoint{AuthURL: "https://linear.app/oauth/authorize", TokenURL: "https://api.linear.app/oauth/token"}},
	"linkedin": {display: "LinkedIn", at: endpoints.LinkedIn, auth: authPost},
	// For work, school and personal accounts; endpoints.Microsoft is an old one for personal accounts.
	"microsoft": {display: "Microsoft", at: endpoints.AzureAD("common"), auth: authPost},
	"notion": {display: "Notion", params: map[string]string{"owner": "user"}, dialect: jsonRequest,
		at: oauth2.Endpoint{AuthURL: "https://api.notion.com/v1/oauth/authorize", TokenURL: "https://api.notion.com/v1/oauth/token"}},
	"patreon": {display: "Patreon", at: endpoints.Patreon, auth: authPost},
	"paypal":  {display: "PayPal", at: endpoints.PayPal},
	"slack":   {display: "Slack", at: endpoints.Slack, separator: ",", dialect: slackResponse},
	"spotify": {display: "Spotify", at: endpoints.Spotify},
	"twitch":  {display: "Twitch", at: endpoints.Twitch, auth: authPost},
	"x":       {display: "X", at: endpoints.X},
}

// presetNames are sorted.
func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }
