package vault

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

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

// take takes one token of name. If there is none it returns the time until there is one.
func (b *buckets) take(name string, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.bucket(name).ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
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

// semaphores limits how many operations each name has at the same time.
type semaphores struct {
	limit int

	mu    sync.Mutex // guards taken
	taken map[string]int
}

func newSemaphores(limit int) *semaphores { return &semaphores{limit: limit, taken: map[string]int{}} }

// acquire reports false if name has reached the limit.
func (s *semaphores) acquire(name string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[name] >= s.limit {
		return nil, false
	}
	s.taken[name]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[name]--; s.taken[name] == 0 {
			delete(s.taken, name)
		}
	}, true
}

// wholeSeconds is d in seconds for Retry-After: rounded up, 1 to 3600.
func wholeSeconds(d time.Duration) int {
	return int(min(max(math.Ceil(d.Seconds()), 1), 3600))
}

// origin identifies the sender of a request for rate limits: an IPv4 address, or the /64 of an IPv6 address, which
// usually belongs to one host.
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

// limitListener limits the number of open connections. More wait in the kernel's queue. Its connState is that of the
// http.Server.
type limitListener struct {
	net.Listener
	open   chan struct{} // one element for each open connection
	closed chan struct{}
}

func newLimitListener(l net.Listener, n int) *limitListener {
	return &limitListener{Listener: l, open: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
	}
	return c, err
}

func (l *limitListener) connState(_ net.Conn, s http.ConnState) {
	if s == http.StateClosed {
		<-l.open
	}
}

// Close implements net.Listener. An http.Server calls it once.
func (l *limitListener) Close() error {
	close(l.closed)
	return l.Listener.Close()
}
