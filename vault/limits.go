package vault

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// buckets holds one token bucket for each name, for the size names used last. A name that was
// dropped starts anew with a full bucket, so size only has to be well above the number of names
// in use at the same time.
type buckets struct {
	rate  rate.Limit
	burst int
	size  int

	mu     sync.Mutex // guards the fields below
	byName map[string]*list.Element
	used   *list.List // of *bucket, the last used first
}

type bucket struct {
	name string
	*rate.Limiter
}

func newBuckets(perSecond float64, burst, size int) *buckets {
	return &buckets{
		rate: rate.Limit(perSecond), burst: burst, size: size,
		byName: make(map[string]*list.Element), used: list.New(),
	}
}

// take takes one token of name. When there is none it takes nothing and returns how long until
// there is one.
func (b *buckets) take(name string, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.bucket(name).ReserveN(now, 1)
	if !r.OK() {
		return time.Duration(math.MaxInt64)
	}
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (b *buckets) bucket(name string) *rate.Limiter {
	if e, ok := b.byName[name]; ok {
		b.used.MoveToFront(e)
		return e.Value.(*bucket).Limiter
	}
	if b.used.Len() >= b.size {
		last := b.used.Back()
		b.used.Remove(last)
		delete(b.byName, last.Value.(*bucket).name)
	}
	n := &bucket{name, rate.NewLimiter(b.rate, b.burst)}
	b.byName[name] = b.used.PushFront(n)
	return n.Limiter
}

// places counts what each name holds at the same time, up to limit.
type places struct {
	limit int

	mu    sync.Mutex // guards taken
	taken map[string]int
}

func newPlaces(limit int) *places { return &places{limit: limit, taken: map[string]int{}} }

// take takes a place, which leave gives back; ok is false when all are taken.
func (p *places) take(name string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[name] >= p.limit {
		return nil, false
	}
	p.taken[name]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.taken[name]--; p.taken[name] == 0 {
			delete(p.taken, name)
		}
	}, true
}

// wholeSeconds rounds up, to at least 1 and at most an hour: what Retry-After says.
func wholeSeconds(d time.Duration) int {
	return int(min(max(math.Ceil(d.Seconds()), 1), 3600))
}

// origin names where a request comes from, for counting: an IPv4 address, or the /64 of an IPv6
// one, since whoever has one address of it has them all.
func origin(remoteAddr string) string {
	ap, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return "unknown"
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.String()
}
