package vault

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
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
	err = persist(ctx, v.log, storeTimeout, func(ctx context.Context) error { return v.store.CompleteFlow(ctx, from, f, n) })
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
