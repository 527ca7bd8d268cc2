// Package outgoing limits the requests that the vault sends to other servers on behalf of tenants: how many run at the
// same time for one tenant, to one host and in all, and how many a tenant makes per second. It also stops requests to
// hosts that don't answer.
package outgoing

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are the limits of one process.
type Limits struct {
	PerTenant int     // requests of a tenant at the same time
	Rate      float64 // requests of a tenant per second, on average
}

// Multiples of Limits.PerTenant, so that one tenant can use up neither a host nor the process, and one host not the
// process.
const (
	perHost = 2
	inAll   = 8
)

// burst is how many seconds of its rate a tenant may use at once.
const burst = 10

// The limits that refuse a request.
const (
	ByTenant  = "tenant"
	ByRate    = "rate"
	ByHost    = "host"
	ByProcess = "process"
)

// Limiter counts requests. It is safe for concurrent use.
type Limiter struct {
	limits Limits

	mu      sync.Mutex // guards the fields below
	running int
	tenants map[string]*tenant // by id; tenants are created by the operator, so they are few
	hosts   map[string]int     // requests running
	closed  chan struct{}      // closed and replaced when a request ends
}

type tenant struct {
	running int
	rate    *rate.Limiter
}

// New returns a Limiter.
func New(l Limits) *Limiter {
	return &Limiter{limits: l, tenants: map[string]*tenant{}, hosts: map[string]int{}, closed: make(chan struct{})}
}

// Take reserves a place for one request of a tenant to a host until release is called. If there is none, release is
// nil, and limit is the limit that was reached.
func (l *Limiter) Take(tenantID, host string) (release func(), limit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant(tenantID)
	switch {
	case t.running >= l.limits.PerTenant:
		return nil, ByTenant
	case l.hosts[host] >= perHost*l.limits.PerTenant:
		return nil, ByHost
	case l.running >= inAll*l.limits.PerTenant:
		return nil, ByProcess
	case !t.rate.AllowN(time.Now(), 1):
		return nil, ByRate
	}
	t.running++
	l.hosts[host]++
	l.running++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		t.running--
		if l.hosts[host]--; l.hosts[host] == 0 {
			delete(l.hosts, host)
		}
		l.running--
		close(l.closed)
		l.closed = make(chan struct{})
	}), ""
}

// tenant is called with mu held.
func (l *Limiter) tenant(id string) *tenant {
	t, ok := l.tenants[id]
	if !ok {
		t = &tenant{rate: rate.NewLimiter(rate.Limit(l.limits.Rate), max(int(burst*l.limits.Rate), 1))}
		l.tenants[id] = t
	}
	return t
}

// Running returns the number of a tenant's requests.
func (l *Limiter) Running(tenantID string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.tenants[tenantID]; ok {
		return t.running
	}
	return 0
}

// InAll returns the number of all requests.
func (l *Limiter) InAll() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// Ended returns a channel that is closed when a request ends, and there may be a place.
func (l *Limiter) Ended() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
