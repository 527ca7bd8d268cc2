package oauth

import (
	"maps"
	"slices"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/endpoints"
)

// How a client shows who it is at a token endpoint.
const (
	authBasic = "basic" // HTTP Basic: what RFC 6749 asks every server to take
	authPost  = "post"  // in the body
	authNone  = "none"  // a public client: no secret at all
)

// preset is what is known of a provider.
type preset struct {
	display          string
	authorize, token string
	issuer           string            // what it calls itself in "iss", where it is known
	auth             string            // "": basic
	separator        string            // between scopes; "": a space
	params           map[string]string // of the link, where it needs more than OAuth does
	shape            shape             // of its token endpoint
}

func known(display string, e oauth2.Endpoint) preset {
	return preset{display: display, authorize: e.AuthURL, token: e.TokenURL}
}

func (p preset) called(issuer string) preset { p.issuer = issuer; return p }
func (p preset) post() preset                { p.auth = authPost; return p }
func (p preset) commas() preset              { p.separator = ","; return p }
func (p preset) shaped(s shape) preset       { p.shape = s; return p }
func (p preset) asking(pairs ...string) preset {
	p.params = map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		p.params[pairs[i]] = pairs[i+1]
	}
	return p
}

// presets are the providers whose URLs needn't be given. Most are golang.org/x/oauth2/endpoints'; what else they
// need (how a client shows who it is, what asks for a refresh token) is from their own documentation.
var presets = map[string]preset{
	"amazon":    known("Amazon", endpoints.Amazon),
	"asana":     known("Asana", endpoints.Asana).post(),
	"bitbucket": known("Bitbucket", endpoints.Bitbucket),
	"discord":   known("Discord", endpoints.Discord),
	// A refresh token comes only with token_access_type=offline.
	"dropbox":  known("Dropbox", endpoints.Dropbox).asking("token_access_type", "offline"),
	"facebook": known("Facebook", endpoints.Facebook).post(),
	"fitbit":   known("Fitbit", endpoints.Fitbit),
	"github":   known("GitHub", endpoints.GitHub).called("https://github.com/login/oauth").post(),
	"gitlab":   known("GitLab", endpoints.GitLab).called("https://gitlab.com").post(),
	// A refresh token comes with access_type=offline, and again only where consent is asked for again.
	"google": known("Google", endpoints.Google).called("https://accounts.google.com").post().
		asking("access_type", "offline", "prompt", "consent"),
	"heroku": known("Heroku", endpoints.Heroku).post(),
	"linear": known("Linear", oauth2.Endpoint{
		AuthURL: "https://linear.app/oauth/authorize", TokenURL: "https://api.linear.app/oauth/token",
	}).post().commas(),
	"linkedin": known("LinkedIn", endpoints.LinkedIn).post(),
	// The one for work, school and personal accounts; endpoints.Microsoft is the personal ones' old one.
	"microsoft": known("Microsoft", endpoints.AzureAD("common")).post(),
	"notion": known("Notion", oauth2.Endpoint{
		AuthURL: "https://api.notion.com/v1/oauth/authorize", TokenURL: "https://api.notion.com/v1/oauth/token",
	}).asking("owner", "user").shaped(shapeJSON),
	"patreon": known("Patreon", endpoints.Patreon).post(),
	"paypal":  known("PayPal", endpoints.PayPal),
	"slack":   known("Slack", endpoints.Slack).commas().shaped(shapeSlack),
	"spotify": known("Spotify", endpoints.Spotify),
	"twitch":  known("Twitch", endpoints.Twitch).post(),
	"x":       known("X", endpoints.X),
}

// Presets are the names that a provider's preset can have, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }
