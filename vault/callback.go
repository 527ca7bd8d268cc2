package vault

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// callback is where a provider sends the user's browser. It has no key: the state shows which flow it is, once.
// Whatever happens, the user gets a page.
func (v *Vault) callback(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		leaveUnread(w)
	}
	if r.Method != http.MethodGet { // HEAD, of a link checker: it mustn't use the code up
		w.Header().Set("Allow", http.MethodGet)
		v.refuse(w, api.NewError(api.ErrMethod, "this path takes GET"))
		return
	}
	e, provider, err := v.land(r, note(w).id)
	if err != nil {
		v.log.Error().Err(err).Str("request_id", note(w).id).Str("provider", provider).Msg("connecting an account failed")
	}
	v.showEnding(w, e)
}

// land takes a browser's answer to its end. err is for the log; ending is for the user.
func (v *Vault) land(r *http.Request, requestID string) (e ending, provider string, err error) {
	from := Actor{RemoteAddr: address(r.RemoteAddr), RequestID: requestID}
	q, ok := readAnswer(r.URL.RawQuery)
	if !ok {
		return endMalformed, "", nil
	}
	state := q.Get("state")
	f, err := v.store.findFlow(r.Context(), state)
	switch {
	case errors.Is(err, api.ErrNotFound):
		if wait := v.failures.take(origin(r.RemoteAddr), time.Now()); wait > 0 {
			return endTooMany, "", nil
		}
		return endUnknown, "", nil
	case errors.Is(err, errFlowOver):
		return v.endedAlready(f), f.provider, nil
	case err != nil:
		return endUnavailable, "", err
	}
	p := v.conf.OAuth.Named(f.provider)
	if p == nil {
		return v.endFlow(from, f, "", api.FlowFailed, "no_such_provider", nil)
	}
	// From here on the user's leaving ends nothing: a code works once.
	ctx := context.WithoutCancel(r.Context())
	if err := p.CheckIssuer(ctx, q); err != nil {
		return v.endFlow(from, f, p.DisplayName, api.FlowFailed, codeOf(err), err)
	}
	if word := oauth.Word(q.Get("error")); word != "" {
		if word == "access_denied" {
			return v.endFlow(from, f, p.DisplayName, api.FlowDenied, word, nil)
		}
		return v.endFlow(from, f, p.DisplayName, api.FlowFailed, word, nil)
	}
	if q.Get("code") == "" {
		return endMalformed, f.provider, nil // the flow goes on: this isn't an answer to it
	}
	return v.exchange(ctx, from, f, p, state, q.Get("code"))
}

// readAnswer reads a provider's answer. It has a state, and nothing twice that counts once.
func readAnswer(text string) (q url.Values, ok bool) {
	q, err := url.ParseQuery(text)
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

func (v *Vault) exchange(ctx context.Context, from Actor, f flow, p *oauth.Provider, state, code string) (ending, string, error) {
	err := v.store.takeFlow(ctx, from, f)
	switch {
	case errors.Is(err, errFlowOver):
		return endUsed, f.provider, nil
	case errors.Is(err, api.ErrUnauthorized):
		return v.endFlow(from, f, p.DisplayName, api.FlowFailed, "key_revoked", nil)
	case err != nil:
		return endUnavailable, f.provider, err
	}
	v.renewer.active.Add(1) // a vault that stops waits for what it was given to be stored
	defer v.renewer.active.Done()
	token, err := p.Exchange(ctx, code, f.verifier(state), f.redirectURI)
	if err != nil {
		return v.endFlow(from, f, p.DisplayName, api.FlowFailed, codeOf(err), err)
	}
	defer token.Access.Wipe()
	defer token.Refresh.Wipe()
	want, err := f.wants()
	if err != nil {
		return v.endFlow(from, f, p.DisplayName, api.FlowFailed, "internal", err)
	}
	secret := secretOf(want, p.Name)
	secret.Value, secret.ExpiresAt = &token.Access, token.ExpiresAt
	if token.Refresh.Len() > 0 {
		secret.RefreshToken = &token.Refresh
	}
	secret.Metadata = jsonOf(map[string]oauthState{"oauth": {Provider: p.Name, Scopes: token.Scopes, Status: api.OAuthConnected}})
	if err := v.completeFlow(ctx, from, f, secret); err != nil {
		word := "internal"
		switch {
		case errors.Is(err, api.ErrConflict):
			word = "name_taken"
		case errors.Is(err, api.ErrUnauthorized):
			word = "key_revoked"
		case errors.Is(err, api.ErrUnavailable):
			word = "not_stored"
		}
		return v.endFlow(from, f, p.DisplayName, api.FlowFailed, word, err)
	}
	v.log.Info().Str("provider", p.Name).Str("request_id", from.RequestID).Msg("account connected")
	return endingOf(api.FlowCompleted, "", p.DisplayName), f.provider, nil
}

// storePatience is how long a token that the disk doesn't take is tried to be stored: the code is used up.
const storePatience = 20 * time.Second

func (v *Vault) completeFlow(ctx context.Context, from Actor, f flow, secret PutSecret) error {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	for {
		err := v.store.completeFlow(ctx, from, f, secret)
		if !errors.Is(err, api.ErrUnavailable) || errors.Is(err, database.ErrClosed) || delay.Sleep(ctx, storePause) != nil {
			return err
		}
	}
}

// endFlow ends a flow that gave nothing, and tells the user.
func (v *Vault) endFlow(from Actor, f flow, display, status, word string, cause error) (ending, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if display == "" {
		display = f.provider
	}
	err := v.store.endFlow(ctx, from, f, status, word)
	return endingOf(status, word, display), f.provider, errors.Join(cause, err)
}

// endedAlready is for a link that is opened again.
func (v *Vault) endedAlready(f flow) ending {
	status, word := f.standing(now())
	if status == api.FlowFailed && word == flowExpired {
		display := f.provider
		if p := v.conf.OAuth.Named(f.provider); p != nil {
			display = p.DisplayName
		}
		return endingOf(status, word, display)
	}
	return endUsed
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return e.Code
	}
	return "internal"
}
