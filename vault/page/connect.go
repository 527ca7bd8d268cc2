package page

import (
	_ "embed"
	"html/template"
	"net/http"

	"github.com/Miosa-osa/miosa-env/api"
)

// Connect is the page that a user sees before the provider's.
type Connect struct {
	Provider string // for people
	Tenant   string
	Resource string   // such as "sandbox sb_1"; "": none
	Variable string   // "": none
	Scopes   []string // empty: the provider's own choice
	URL      string   // of the provider, once the user has continued; "" before
}

// ResourceName names a resource for people.
func ResourceName(r api.Resource) string {
	if r.ID == "" {
		return ""
	}
	return r.Type + " " + r.ID
}

//go:embed connect.html
var connectText string

var connectPage = template.Must(template.New("connect").Parse(connectText))

// connectPolicy is resultPolicy, and allows the form. A browser applies it to redirects after the form too, which may lead
// anywhere from the provider: so the next page is one that refreshes, not a redirect.
var connectPolicy = policy("'self'")

// Write answers with the page. All of its text is escaped: tenants and scopes are chosen by clients.
func (c Connect) Write(w http.ResponseWriter) {
	page := render(w, connectPage, struct {
		Connect
		Style template.CSS
	}{c, pageStyle()}, connectPolicy)
	h := w.Header()
	// No Cross-Origin-Opener-Policy: a platform that has opened this page in a window would take it for closed.
	h.Set("Referrer-Policy", "same-origin") // the form has an Origin then
	if c.URL != "" {
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Refresh", "0; url="+c.URL)
	}
	_, _ = w.Write(page)
}
