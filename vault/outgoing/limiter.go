// Package outgoing limits the requests that the vault sends to other servers on behalf of tenants: how many run at the
// same time for one tenant, to one host and in all, and how many a tenant makes per second. It also stops requests to
// hosts that don't answer.
package outgoing

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// burst is how many seconds of its rate a tenant may use at once.
const burst = 10

// Limiter counts requests. It is safe for concurrent use.
type Limiter struct {
	limits *limit.Values

	mu      sync.Mutex // guards the fields below
	running int
	tenants map[string]*tenant // by id; tenants are created by the operator, so they are few
	hosts   map[string]int     // requests running
	ended   chan struct{}      // closed and replaced when a request ends
}

type tenant struct {
	running int
	rate    *rate.Limiter
}

// New returns a Limiter.
func New(l *limit.Values) *Limiter {
	return &Limiter{limits: l, tenants: map[string]*tenant{}, hosts: map[string]int{}, ended: make(chan struct{})}
}

// pause is how long a request that a limit refuses should wait before its next try.
const pause = time.Second

// Take reserves a place for one request of a tenant to a host until release is called. Errors: ErrRateLimited, naming the
// limit.
func (l *Limiter) Take(tenantID, host string) (release func(), err *api.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant(tenantID)
	for _, place := range []struct {
		id    limit.ID
		taken int
	}{{limit.TenantOAuthRequests, t.running}, {limit.HostOAuthRequests, l.hosts[host]}, {limit.OAuthRequests, l.running}} {
		if float64(place.taken) >= l.limits.Of(place.id) {
			return nil, l.limits.Refuse(place.id, pause)
		}
	}
	if float64(t.running+1) > l.limits.Of(limit.OAuthRequests)-float64(l.running) { // a tenant leaves others as many as it has
		return nil, l.limits.Refuse(limit.OAuthRequests, pause)
	}
	if !t.rate.AllowN(time.Now(), 1) {
		return nil, l.limits.Refuse(limit.TenantOAuthRate, pause)
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
		close(l.ended)
		l.ended = make(chan struct{})
	}), nil
}

// tenant returns the state of a tenant. The caller holds mu.
func (l *Limiter) tenant(id string) *tenant {
	t, ok := l.tenants[id]
	if !ok {
		perSecond := l.limits.Of(limit.TenantOAuthRate)
		t = &tenant{rate: rate.NewLimiter(rate.Limit(perSecond), max(int(burst*perSecond), 1))}
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

// Total returns the number of requests of all tenants.
func (l *Limiter) Total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// Ended returns a channel that is closed when a request ends, and there may be a place.
func (l *Limiter) Ended() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}
