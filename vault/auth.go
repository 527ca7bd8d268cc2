package vault

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// authenticate returns the actor of a request's key. Failures are counted per remote address. A valid key isn't
// affected by that count, so nobody can lock out others behind the same address.
// Errors: ErrUnauthorized, ErrRateLimited after too many failures, ErrUnavailable.
func (v *Vault) authenticate(r *http.Request, requestID string) (store.Actor, error) {
	actor, err := v.actor(r)
	if err == nil {
		actor.RemoteAddr, actor.RequestID = address(r.RemoteAddr), requestID
		return actor, nil
	}
	if errors.Is(err, api.ErrUnauthorized) {
		if wait := v.failures.take(origin(r.RemoteAddr), time.Now()); wait > 0 {
			return store.Actor{}, tooMany("too many requests without a good key from this address", wait)
		}
	}
	return store.Actor{}, err
}

func (v *Vault) actor(r *http.Request) (store.Actor, error) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return store.Actor{}, api.NewError(api.ErrUnauthorized, "a key is required: send Authorization: Bearer KEY")
	}
	return v.store.Authenticate(r.Context(), text)
}

// address is the remote address without its port, for the audit.
func address(remoteAddr string) string {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		return remoteAddr
	}
	return host
}
