package vault

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// access says which keys may use a route.
type access int

const (
	tenantOnly   access = iota // tenant keys
	resourceOnly               // resource keys, for their own resource: the store checks which
	anyKey                     // both; the store narrows a resource key to its own resource
)

// permit refuses a key of the wrong kind, before the body is read; the attempt is audited as action.
func (v *Vault) permit(c *call, rt route) error {
	switch {
	case rt.allow == tenantOnly:
		return v.store.tenantOnly(c.ctx(), c.actor, rt.action)
	case rt.allow == resourceOnly && c.actor.Resource == nil:
		return v.store.deny(c.ctx(), c.actor, api.Event{Action: rt.action}, "a tenant key reads no value: reveal with a resource key")
	}
	return nil
}

// authenticate finds who asks, from the headers alone. Failures are counted for each remote address;
// a good key isn't counted there, so nobody can shut out others behind the same address.
// Errors: ErrUnauthorized, ErrRateLimited after too many failures, ErrUnavailable.
func (v *Vault) authenticate(r *http.Request, requestID string) (Actor, error) {
	actor, err := v.whoIs(r)
	if err == nil {
		actor.RemoteAddr, actor.RequestID = address(r.RemoteAddr), requestID
		return actor, nil
	}
	if errors.Is(err, api.ErrUnauthorized) {
		if wait := v.failures.take(origin(r.RemoteAddr), time.Now()); wait > 0 {
			return Actor{}, tooMany("too many requests without a good key from this address", wait)
		}
	}
	return Actor{}, err
}

func (v *Vault) whoIs(r *http.Request) (Actor, error) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Actor{}, api.NewError(api.ErrUnauthorized, "a key is required: send Authorization: Bearer KEY")
	}
	key, err := api.ParseKey(text)
	if err != nil {
		return Actor{}, errBadKey
	}
	actor, err := v.store.Authenticate(r.Context(), key)
	if errors.Is(err, api.ErrUnauthorized) {
		return Actor{}, errBadKey // one sentence for all, malformed ones too
	}
	return actor, err
}

var errBadKey = api.NewError(api.ErrUnauthorized, "the key is unknown, revoked or expired")

// address is the remote address without its port: what the audit says.
func address(remoteAddr string) string {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		return remoteAddr
	}
	return host
}
