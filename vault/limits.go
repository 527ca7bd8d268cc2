package vault

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// limits are the limits of requests. The store has those of changes and of what is stored.
type limits struct {
	values         *limit.Values
	failures       *limit.Rate
	keyRequests    *limit.Rate
	tenantRequests *limit.Rate
	requests       *limit.Rate
	keyWaits       *limit.Places
	tenantWaits    *limit.Places
	memory         *limit.Budget
	listener       atomic.Pointer[limit.Listener] // of the last Serve; nil: none
}

func (l *limits) set(v limit.Values) {
	values := &v
	l.values = values
	l.failures = limit.NewRate(values, limit.AddressFailures, 0)
	l.keyRequests = limit.NewRate(values, limit.KeyRequests, values.Of(limit.KeyBurst))
	l.tenantRequests = limit.NewRate(values, limit.TenantRequests, values.Of(limit.TenantBurst))
	l.requests = limit.NewRate(values, limit.Requests, 0)
	l.keyWaits = limit.NewPlaces(values, limit.KeyWaits)
	l.tenantWaits = limit.NewShares(values, limit.TenantWaits, limit.Waits)
	l.memory = limit.NewBudget(values)
}

// listen limits the connections of l.
func (v *Vault) listen(l net.Listener) net.Listener {
	limited := limit.Listen(l, v.limits.values, func(id limit.ID) { v.metrics.countRefusal(id.String()) })
	v.limits.listener.Store(limited)
	return limited
}

// countedBytes is the length of a body or an answer that counts as one request.
const countedBytes = 16 << 10

// request counts a request. Errors: ErrRateLimited.
func (l *limits) request(a store.Actor, r *http.Request) error {
	if err := l.keyRequests.Take(a.KeyID, 1); err != nil {
		return err
	}
	if err := l.tenantRequests.Take(a.TenantID, 1+int(max(r.ContentLength, 0)/countedBytes)); err != nil {
		return err
	}
	return l.requests.Take("", 1)
}

// transferred counts what an answer, or a body whose length wasn't known, is longer than the shortest ones.
func (l *limits) transferred(a store.Actor, length int) {
	if n := length / countedBytes; n > 0 {
		l.tenantRequests.Charge(a.TenantID, n)
	}
}

// countedBody is a body that counts what is read of it.
type countedBody struct {
	io.ReadCloser
	read int
}

func (c *countedBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.read += n
	return n, err
}

// wait takes a place for a waiting reveal, until release. Errors: ErrRateLimited.
func (l *limits) wait(a store.Actor) (release func(), err error) {
	ofKey, err := l.keyWaits.Acquire(a.KeyID)
	if err != nil {
		return nil, err
	}
	ofTenant, err := l.tenantWaits.Acquire(a.TenantID)
	if err != nil {
		ofKey()
		return nil, err
	}
	return func() { ofKey(); ofTenant() }, nil
}

// A body must arrive at this rate, in bytes per second, on average, after some time for the first ones.
const (
	bodyRate  = 64 << 10
	bodyGrace = 10 * time.Second
)

// pacedBody is a body that fails if it comes too slowly, so that it doesn't keep its memory.
type pacedBody struct {
	body  interface{ Read([]byte) (int, error) }
	conn  *http.ResponseController
	begun time.Time
	read  int
}

func (p *pacedBody) Read(b []byte) (int, error) {
	allowed := min(bodyGrace+time.Duration(p.read)*time.Second/bodyRate, readTimeout)
	_ = p.conn.SetReadDeadline(p.begun.Add(allowed))
	n, err := p.body.Read(b[:min(len(b), bodyRate)])
	p.read += n
	return n, err
}

// errSlow is the error of a body that came too slowly or not completely.
var errSlow = api.NewError(api.ErrMalformed, "the body ended early or came too slowly")
