package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/page"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// connectURL is the page that a flow begins at: it names who gets access, before the user is sent to the provider.
// public is the vault's URL for browsers.
func connectURL(public, state string) string {
	return public + oauth.ConnectPath + "?state=" + url.QueryEscape(state)
}

// connectPage shows the page, or after the user has continued, sends the browser to the provider. It needs no key: the
// state identifies the flow.
func (v *Vault) connectPage(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		leaveUnread(w)
	}
	q, ok := parseAnswer(r.URL.RawQuery)
	if !ok {
		page.Incomplete.Write(w)
		return
	}
	f, result, err := v.pendingFlow(r, q.Get("state"))
	if err != nil {
		v.log.Error().Err(err).Str("request_id", observed(w).id).Str("provider", f.Provider).Msg("account not connected")
	}
	if result != nil {
		result.Write(w)
		return
	}
	if shown, result := v.consent(w, r, f, q.Get("state")); result != nil {
		result.Write(w)
	} else {
		shown.Write(w)
	}
}

// consent returns the page of a pending flow, or why there is none.
func (v *Vault) consent(w http.ResponseWriter, r *http.Request, f store.Flow, state string) (page.Connect, *page.Result) {
	p := v.conf.OAuth.Named(f.Provider)
	want, err := f.Wanted()
	if err != nil || p == nil {
		failed := page.ResultOf(api.FlowFailed, "no_such_provider", f.Provider) // the flow continues: another process may know it
		return page.Connect{}, &failed
	}
	tenant, err := v.store.TenantName(r.Context(), f.TenantID())
	if err != nil {
		return page.Connect{}, &page.Unavailable
	}
	shown := page.Connect{
		Provider: p.DisplayName, Tenant: tenant, Resource: page.ResourceName(api.Resource{Type: want.ResourceType, ID: want.ResourceID}),
		Variable: want.ExposeAsEnv, Scopes: p.Requested(want.Scopes),
	}
	// Another site must not continue for the user.
	if r.Method != http.MethodPost || http.NewCrossOriginProtection().Check(r) != nil {
		return shown, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), discoverTimeout)
	defer cancel()
	if shown.URL, err = p.AuthorizeURL(ctx, state, f.Verifier(state), f.RedirectURI, want.Scopes...); err != nil {
		v.log.Error().Err(err).Str("provider", p.Name).Msg("provider unavailable")
		return page.Connect{}, &page.Unavailable
	}
	v.setBrowser(w, f, state)
	return shown, nil
}

// pendingFlow finds the flow of a browser's state. result is the page for the user if it isn't pending; err is for the log.
func (v *Vault) pendingFlow(r *http.Request, state string) (f store.Flow, result *page.Result, err error) {
	f, err = v.store.FindFlow(r.Context(), state)
	switch {
	case errors.Is(err, api.ErrNotFound):
		if v.limits.failures.Take(limit.Origin(r.RemoteAddr), 1) != nil {
			v.metrics.countRefusal(limit.AddressFailures.String())
			return f, &page.TooMany, nil
		}
		return f, &page.Unknown, nil
	case errors.Is(err, store.ErrFlowEnded):
		if status, code := f.Status(); code == "expired" {
			expired := page.ResultOf(status, code, v.displayName(f.Provider))
			return f, &expired, nil
		}
		return f, &page.Used, nil
	case err != nil:
		return f, &page.Unavailable, err
	}
	return f, nil, nil
}

// The cookie of a flow shows that its user has continued from the vault's page in the same browser. A user who was sent the
// provider's link, past the page, doesn't have it.

func (v *Vault) browserCookie(f store.Flow) (name string, secure bool) {
	if strings.HasPrefix(v.publicURL(), "https://") {
		return "__Host-miosa-" + f.ID(), true // no other host can set it
	}
	return "miosa-" + f.ID(), false // on loopback
}

// setBrowser sets the cookie of a flow.
func (v *Vault) setBrowser(w http.ResponseWriter, f store.Flow, state string) {
	name, secure := v.browserCookie(f)
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: f.Browser(state), Path: "/", Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: max(1, int(time.Until(f.ExpiresAt)/time.Second)),
	})
}

// sameBrowser reports whether a request is from the browser in which the flow's user has continued, or the configuration
// allows any.
func (v *Vault) sameBrowser(r *http.Request, f store.Flow, state string) bool {
	if v.conf.OAuth.AnyBrowser() {
		return true
	}
	name, _ := v.browserCookie(f)
	c, err := r.Cookie(name)
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(f.Browser(state))) == 1
}
