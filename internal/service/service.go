// Package service has the egress rules of well-known APIs: their hosts, where requests have keys, and the form of keys that their
// clients check.
package service

import (
	"maps"
	"slices"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
)

// Rule returns the egress rule of a service; false if the name is unknown. The caller may change it.
func Rule(name string) (api.EgressRule, bool) {
	s, ok := services()[name]
	if !ok {
		return api.EgressRule{}, false
	}
	r := api.EgressRule{Hosts: slices.Clone(s.hosts), Slots: slices.Clone(s.slots)}
	if s.shape != (api.EgressShape{}) {
		r.Shape = new(s.shape)
	}
	return r, true
}

// Names returns the names of all services, sorted.
func Names() []string { return slices.Sorted(maps.Keys(services())) }

// service is an API whose keys are secrets.
type service struct {
	hosts []string
	slots []string // nil: the usual headers
	shape api.EgressShape
}

// header are the slots of headers.
func header(names ...string) []string {
	slots := make([]string, len(names))
	for i, name := range names {
		slots[i] = "header:" + name
	}
	return slots
}

// Alphabets that several services have.
const (
	alphanumeric = "A-Za-z0-9"
	hex          = "0-9a-f"
	urlSafe      = "A-Za-z0-9_-"
)

// shaped is a shape with a prefix, and so many characters of an alphabet.
func shaped(prefix string, length int, alphabet string) api.EgressShape {
	return api.EgressShape{Prefix: prefix, Length: len(prefix) + length, Alphabet: alphabet}
}

// services are those whose documentation says where their API is and how requests are authenticated. A shape that has more
// characters than the service's keys has them for 128 random bits. Of a prefix, the digits after the service's own
// letters make the rest of a form that its clients check. They are made when they are needed: most commands don't.
var services = sync.OnceValue(func() map[string]service {
	inAuthorization := []string{"authorization"}
	return map[string]service{
		// Models.
		"anthropic": {[]string{"api.anthropic.com"}, []string{"header:X-Api-Key", "authorization"}, shaped("sk-ant-api03-", 95, urlSafe)},
		"azure-openai": {[]string{"*.openai.azure.com"}, []string{"header:Api-Key", "authorization"},
			shaped("", 32, hex)},
		"cohere":      {[]string{"api.cohere.com"}, inAuthorization, shaped("", 40, alphanumeric)},
		"deepseek":    {[]string{"api.deepseek.com"}, inAuthorization, shaped("sk-", 32, hex)},
		"elevenlabs":  {[]string{"api.elevenlabs.io"}, header("Xi-Api-Key"), shaped("sk_", 48, hex)},
		"gemini":      {[]string{"generativelanguage.googleapis.com"}, []string{"header:X-Goog-Api-Key", "query:key"}, shaped("AIza", 35, urlSafe)},
		"groq":        {[]string{"api.groq.com"}, inAuthorization, shaped("gsk_", 52, alphanumeric)},
		"huggingface": {[]string{"huggingface.co", "router.huggingface.co"}, inAuthorization, shaped("hf_", 34, "A-Za-z")},
		"mistral":     {[]string{"api.mistral.ai"}, inAuthorization, shaped("", 32, alphanumeric)},
		"openai":      {[]string{"api.openai.com"}, inAuthorization, shaped("sk-", 48, alphanumeric)},
		"openrouter":  {[]string{"openrouter.ai"}, inAuthorization, shaped("sk-or-v1-", 64, hex)},
		"perplexity":  {[]string{"api.perplexity.ai"}, inAuthorization, shaped("pplx-", 48, alphanumeric)},
		"replicate":   {[]string{"api.replicate.com"}, inAuthorization, shaped("r8_", 37, alphanumeric)},
		"together":    {[]string{"api.together.xyz"}, inAuthorization, shaped("", 64, hex)},
		"xai":         {[]string{"api.x.ai"}, inAuthorization, shaped("xai-", 80, alphanumeric)},

		// Code hosts.
		"bitbucket": {[]string{"api.bitbucket.org", "bitbucket.org"}, inAuthorization, api.EgressShape{}},
		"dockerhub": {[]string{"auth.docker.io", "hub.docker.com"}, []string{"authorization", "json:password"}, shaped("dckr_pat_", 27, urlSafe)},
		"github":    {[]string{"api.github.com", "github.com", "uploads.github.com"}, inAuthorization, shaped("ghp_", 36, alphanumeric)},
		"gitlab":    {[]string{"gitlab.com"}, []string{"authorization", "header:Private-Token"}, shaped("glpat-", 22, urlSafe)},

		// Clouds.
		// Of AWS, the secret access key, and the access key id.
		"aws":          {[]string{"*.amazonaws.com"}, []string{"sigv4"}, shaped("", 40, "A-Za-z0-9/+")},
		"aws-id":       {[]string{"*.amazonaws.com"}, []string{"sigv4-id"}, shaped("AKIA", 26, "A-Z2-7")},
		"cloudflare":   {[]string{"api.cloudflare.com"}, []string{"authorization", "header:X-Auth-Key"}, shaped("", 40, urlSafe)},
		"datadog":      {[]string{"api.datadoghq.com"}, header("Dd-Api-Key", "Dd-Application-Key"), shaped("", 32, hex)},
		"digitalocean": {[]string{"api.digitalocean.com"}, inAuthorization, shaped("dop_v1_", 64, hex)},
		"heroku":       {[]string{"api.heroku.com"}, inAuthorization, api.EgressShape{}},
		"hetzner":      {[]string{"api.hetzner.cloud"}, inAuthorization, shaped("", 64, alphanumeric)},
		"netlify":      {[]string{"api.netlify.com"}, inAuthorization, shaped("nfp_", 36, alphanumeric)},
		"sentry":       {[]string{"sentry.io", "*.sentry.io"}, inAuthorization, api.EgressShape{}},
		"supabase":     {[]string{"api.supabase.com"}, inAuthorization, shaped("sbp_", 40, hex)},
		"vercel":       {[]string{"api.vercel.com"}, inAuthorization, shaped("", 24, alphanumeric)},

		// Payment and shops.
		"paypal":  {[]string{"api-m.paypal.com"}, inAuthorization, api.EgressShape{}},
		"shopify": {[]string{"*.myshopify.com"}, header("X-Shopify-Access-Token"), shaped("shpat_", 32, hex)},
		"square":  {[]string{"connect.squareup.com"}, inAuthorization, shaped("EAAA", 60, urlSafe)},
		"stripe":  {[]string{"api.stripe.com", "files.stripe.com"}, inAuthorization, shaped("sk_live_", 99, alphanumeric)},

		// Chat, mail and work.
		"airtable":  {[]string{"api.airtable.com"}, inAuthorization, shaped("pat00000000000000.", 64, hex)},
		"asana":     {[]string{"app.asana.com"}, inAuthorization, api.EgressShape{}},
		"atlassian": {[]string{"*.atlassian.net", "api.atlassian.com"}, inAuthorization, shaped("ATATT3xFfGF0", 180, urlSafe)},
		"figma":     {[]string{"api.figma.com"}, []string{"header:X-Figma-Token", "authorization"}, shaped("figd_", 40, urlSafe)},
		"linear":    {[]string{"api.linear.app"}, inAuthorization, shaped("lin_api_", 40, alphanumeric)},
		"mailgun":   {[]string{"api.mailgun.net", "api.eu.mailgun.net"}, inAuthorization, shaped("key-", 32, hex)},
		"notion":    {[]string{"api.notion.com"}, inAuthorization, shaped("ntn_", 46, alphanumeric)},
		"postmark":  {[]string{"api.postmarkapp.com"}, header("X-Postmark-Server-Token", "X-Postmark-Account-Token"), api.EgressShape{}},
		"resend":    {[]string{"api.resend.com"}, inAuthorization, shaped("re_", 33, alphanumeric)},
		"sendgrid":  {[]string{"api.sendgrid.com"}, inAuthorization, shaped("SG.0000000000000000000000.", 43, urlSafe)},
		"slack":     {[]string{"slack.com"}, []string{"authorization", "form:token"}, shaped("xoxb-100000000000-1000000000000-", 24, alphanumeric)},
		"slack-app": {[]string{"slack.com"}, inAuthorization, shaped("xapp-1-A0000000000-1000000000000-", 64, hex)},
		"telegram":  {[]string{"api.telegram.org"}, []string{"path"}, shaped("1000000000:AA", 33, urlSafe)},
		"twilio":    {[]string{"api.twilio.com"}, inAuthorization, shaped("", 32, hex)},

		// Accounts that are connected with OAuth.
		"amazon":    {[]string{"api.amazon.com"}, inAuthorization, api.EgressShape{}},
		"discord":   {[]string{"discord.com"}, inAuthorization, api.EgressShape{}},
		"dropbox":   {[]string{"api.dropboxapi.com", "content.dropboxapi.com"}, inAuthorization, api.EgressShape{}},
		"facebook":  {[]string{"graph.facebook.com"}, inAuthorization, api.EgressShape{}},
		"fitbit":    {[]string{"api.fitbit.com"}, inAuthorization, api.EgressShape{}},
		"google":    {[]string{"*.googleapis.com"}, inAuthorization, api.EgressShape{}},
		"linkedin":  {[]string{"api.linkedin.com"}, inAuthorization, api.EgressShape{}},
		"microsoft": {[]string{"graph.microsoft.com"}, inAuthorization, api.EgressShape{}},
		"patreon":   {[]string{"www.patreon.com"}, inAuthorization, api.EgressShape{}},
		"spotify":   {[]string{"api.spotify.com"}, inAuthorization, api.EgressShape{}},
		"twitch":    {[]string{"api.twitch.tv"}, inAuthorization, api.EgressShape{}},
		"x":         {[]string{"api.x.com"}, inAuthorization, api.EgressShape{}},
	}
})
