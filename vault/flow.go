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

// callback is where a provider sends the user's browser. It needs no key: the state identifies the flow, once. The user
// always gets a page.
func (v *Vault) callback(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		leaveUnread(w)
	}
	if r.Method != http.MethodGet { // a link checker's HEAD must not use up the code
		w.Header().Set("Allow", http.MethodGet)
		v.refuse(w, api.NewError(api.ErrMethod, "this path takes GET"))
		return
	}
	result, provider, err := v.endOfFlow(r, observed(w).id)
	if err != nil {
		v.log.Error().Err(err).Str("request_id", observed(w).id).Str("provider", provider).Msg("account not connected")
	}
	result.Write(w)
}

// placeTimeout is how long a browser waits while its tenant has too many requests to providers.
const placeTimeout = 5 * time.Second

// endOfFlow handles the answer that a browser brings. err is for the log; the result is for the user.
func (v *Vault) endOfFlow(r *http.Request, requestID string) (result page.Result, provider string, err error) {
	from := store.Actor{RemoteAddr: address(r.RemoteAddr), RequestID: requestID}
	q, ok := parseAnswer(r.URL.RawQuery)
	if !ok {
		return page.Incomplete, "", nil
	}
	state := q.Get("state")
	f, ended, err := v.pendingFlow(r, state)
	if ended != nil {
		return *ended, f.Provider, err
	}
	if !v.sameBrowser(r, f, state) {
		return page.OtherBrowser, f.Provider, nil // the flow continues
	}
	p := v.conf.OAuth.Named(f.Provider)
	if p == nil {
		return v.failFlow(from, f, api.FlowFailed, "no_such_provider", nil)
	}
	waitCtx, cancel := context.WithTimeout(r.Context(), placeTimeout)
	defer cancel()
	release, err := v.refresh.place(waitCtx, f.TenantID(), "provider "+p.Name)
	if err != nil {
		return page.Unavailable, f.Provider, nil // the user can reload the page
	}
	defer release()
	// From here on a user who leaves interrupts nothing: a code works once.
	ctx := context.WithoutCancel(r.Context())
	if err := p.CheckIssuer(ctx, q); err != nil {
		return v.failFlow(from, f, api.FlowFailed, codeOf(err), err)
	}
	if code := oauth.ErrorCode(q.Get("error")); code != "" {
		status := api.FlowFailed
		if code == "access_denied" {
			status = api.FlowDenied
		}
		return v.failFlow(from, f, status, code, nil)
	}
	if q.Get("code") == "" {
		return page.Incomplete, f.Provider, nil // the flow continues: this isn't its answer
	}
	return v.exchange(ctx, from, f, p, state, q.Get("code"))
}

// parseAnswer reads a provider's answer. It has a state, and no parameter that counts twice.
func parseAnswer(query string) (q url.Values, ok bool) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, false
	}
	for _, name := range []string{"state", "code", "error"} {
		if len(q[name]) > 1 {
			return nil, false
		}
	}
	return q, q.Get("state") != ""
}

// exchange turns the code into a token and stores it.
func (v *Vault) exchange(ctx context.Context, from store.Actor, f store.Flow, p *oauth.Provider, state, code string) (page.Result, string, error) {
	err := v.store.TakeFlow(ctx, from, f)
	switch {
	case errors.Is(err, store.ErrFlowEnded):
		return page.Used, f.Provider, nil
	case errors.Is(err, api.ErrUnauthorized):
		return v.failFlow(from, f, api.FlowFailed, "key_revoked", nil)
	case err != nil:
		return page.Unavailable, f.Provider, err
	}
	v.refresh.active.Add(1) // a vault that stops waits until the token is stored
	defer v.refresh.active.Done()
	want, err := f.Wanted()
	if err != nil {
		return v.failFlow(from, f, api.FlowFailed, codeOf(err), err)
	}
	token, err := p.Exchange(ctx, code, f.Verifier(state), f.RedirectURI, want.Scopes...)
	if err != nil {
		return v.failFlow(from, f, api.FlowFailed, codeOf(err), err)
	}
	defer token.Access.Wipe()
	defer token.Refresh.Wipe()
	n := store.ConnectedSecret(want.OAuthSecret, p.Name)
	n.Value, n.RefreshToken, n.ExpiresAt = token.Access, token.Refresh, token.ExpiresAt
	n.Metadata = oauth.Connection{Provider: p.Name, Scopes: token.Scopes, Status: api.OAuthConnected}.Metadata()
	err = persist(ctx, v.log, storeTimeout, func(ctx context.Context) error { return v.store.CompleteFlow(ctx, from, f, n, p.Egress()) })
	if err != nil {
		return v.failFlow(from, f, api.FlowFailed, codeOf(err), err)
	}
	v.log.Info().Str("provider", p.Name).Str("request_id", from.RequestID).Msg("account connected")
	return page.ResultOf(api.FlowCompleted, "", p.DisplayName), f.Provider, nil
}

// storeTimeout limits the tries to store a token while the store is unavailable: the code is used up.
const storeTimeout = 20 * time.Second

// failFlow ends a flow that stored nothing.
func (v *Vault) failFlow(from store.Actor, f store.Flow, status, code string, cause error) (page.Result, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := v.store.EndFlow(ctx, from, f, status, code)
	return page.ResultOf(status, code, v.displayName(f.Provider)), f.Provider, errors.Join(cause, err)
}

// codeOf is the code of a flow that failed at the provider or in the store.
func codeOf(err error) string {
	failed, ok := errors.AsType[*oauth.Error](err)
	switch {
	case ok:
		return failed.Code
	case errors.Is(err, api.ErrConflict):
		return "name_taken"
	case errors.Is(err, api.ErrUnauthorized):
		return "key_revoked"
	case errors.Is(err, api.ErrUnavailable):
		return "not_stored"
	}
	return "internal"
}

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
		if err = v.limits.failures.Take(limit.Origin(r.RemoteAddr), 1); err == nil {
			return f, &page.Unknown, nil
		}
		v.metrics.countRefusal(limit.AddressFailures.String())
		return f, &page.TooMany, nil
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
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // not Secure on loopback without TLS only
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
