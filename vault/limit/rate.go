package limit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/Miosa-osa/miosa-env/api"
)

// Rate limits how much happens per second: for each name (a key, a tenant or an address), or in total.
type Rate struct {
	values *Values
	id     ID
	names  *buckets
}

// maxBuckets is how many names are counted at the same time: about 300 bytes each.
const maxBuckets = 1 << 16

// NewRate returns the rate of a limit. burst is how much may happen at once; 0: ten times as much as in a second.
func NewRate(v *Values, id ID, burst float64) *Rate {
	perSecond := v.Of(id)
	if burst == 0 {
		burst = 10 * perSecond
	}
	return &Rate{v, id, newBuckets(perSecond, int(min(max(1, burst), 1<<30)), maxBuckets)}
}

// Take takes n of name. Errors: ErrRateLimited, with the time until there is one.
func (r *Rate) Take(name string, n int) error {
	if wait := r.names.take(name, n, time.Now()); wait > 0 {
		return r.values.refuse(api.ErrRateLimited, r.id, wait)
	}
	return nil
}

// Charge takes n of name even if there are fewer. Take then refuses until the rate has made up for them.
func (r *Rate) Charge(name string, n int) { r.names.charge(name, n, time.Now()) }

// buckets holds a token bucket per name, for at most size names. A name's bucket may be dropped, and starts full again, once
// size/2 other names were used since its last use, so size must be well above the number of names in use at the same time.
type buckets struct {
	rate  rate.Limit
	burst int
	size  int

	mu          sync.Mutex // guards the fields below
	recent, old map[string]*rate.Limiter
}

func newBuckets(perSecond float64, burst, size int) *buckets {
	return &buckets{rate: rate.Limit(perSecond), burst: burst, size: size, recent: map[string]*rate.Limiter{}}
}

// take takes n tokens of name if there is at least one; the rest is charged. If there is none it returns the time until there
// is one.
func (b *buckets) take(name string, n int, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.bucket(name)
	r := l.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait
	}
	b.spend(l, n-1, now)
	return 0
}

// charge takes n tokens of name.
func (b *buckets) charge(name string, n int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spend(b.bucket(name), n, now)
}

// spend takes n tokens, at most burst at a time.
func (b *buckets) spend(l *rate.Limiter, n int, now time.Time) {
	for ; n > 0; n -= b.burst {
		l.ReserveN(now, min(n, b.burst))
	}
}

func (b *buckets) bucket(name string) *rate.Limiter {
	l, ok := b.recent[name]
	if ok {
		return l
	}
	if l, ok = b.old[name]; !ok {
		l = rate.NewLimiter(b.rate, b.burst)
	}
	if len(b.recent) >= b.size/2 {
		b.old, b.recent = b.recent, map[string]*rate.Limiter{}
	}
	b.recent[name] = l
	return l
}

// WholeSeconds is d in seconds for Retry-After: rounded up, 1 to 3600.
func WholeSeconds(d time.Duration) int {
	return int(min(max(math.Ceil(d.Seconds()), 1), 3600))
}
