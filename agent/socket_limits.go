package agent

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// How many connections are served at a time, and how many of them wait for a change. Some are reserved for root and the
// agent's own user, and one other user can't use up those of all others.
const (
	maxActive       = 128
	maxActiveOthers = 64
	maxActiveEach   = 16

	maxWaiting       = 64
	maxWaitingOthers = 32
	maxWaitingEach   = 16
)

// limiter limits how many connections there are at a time.
type limiter struct {
	all, others, each int // limits: of all, of those who aren't trusted, and of one of these

	mu     sync.Mutex // guards the fields below
	inside int
	theirs int            // of these, not trusted
	of     map[uint32]int // uid of one who isn't trusted: how many, above 0
}

// acquire counts a connection in, unless a limit is reached.
func (l *limiter) acquire(uid uint32, trusted bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside >= l.all || !trusted && (l.theirs >= l.others || l.of[uid] >= l.each) {
		return false
	}
	l.inside++
	if !trusted {
		if l.of == nil {
			l.of = map[uint32]int{}
		}
		l.theirs++
		l.of[uid]++
	}
	return true
}

func (l *limiter) release(uid uint32, trusted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
	if trusted {
		return
	}
	l.theirs--
	if l.of[uid]--; l.of[uid] == 0 {
		delete(l.of, uid)
	}
}

func (l *limiter) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inside
}

// denials logs whom nothing was given, once a second for each user: a flood of asking isn't to become a
// flood of lines.
type denials struct {
	mu sync.Mutex // guards of
	of map[uint32]*denial
}

type denial struct {
	told   time.Time
	untold int
}

const (
	denialsApart = time.Second
	denialsKept  = 1024 // users; a machine's user may be many by user namespaces
)

func (d *denials) log(log zerolog.Logger, p peer, why string) {
	d.mu.Lock()
	k := d.of[p.uid]
	if k == nil {
		if d.of == nil || len(d.of) >= denialsKept {
			d.of = map[uint32]*denial{}
		}
		k = &denial{}
		d.of[p.uid] = k
	}
	now := time.Now()
	if now.Sub(k.told) < denialsApart {
		k.untold++
		d.mu.Unlock()
		return
	}
	untold := k.untold
	k.told, k.untold = now, 0
	d.mu.Unlock()
	log.Warn().Uint32("uid", p.uid).Uint32("gid", p.gid).Int32("pid", p.pid).Str("reason", why).Int("untold", untold).
		Msg("socket request refused")
}

// refresher asks the vault on behalf of everybody who wants that, one time after the other, and at least
// refreshApart apart. Who comes while it asks is told what the next time gives.
type refresher struct {
	ask func(context.Context) error

	mu   sync.Mutex // guards the fields below
	next *flight    // joined by who comes; nil: none
	last time.Time  // when the vault was asked last
	busy bool
}

// flight is one time of asking.
type flight struct {
	done chan struct{} // closed at its end
	err  error         // readable then
}

const (
	refreshApart = time.Second
	refreshTime  = 30 * time.Second
)

// do asks, or joins who is about to. It returns when there is an answer, or ctx ends. The asking ends with
// serving, and is over when running is.
func (r *refresher) do(ctx, serving context.Context, running *sync.WaitGroup) error {
	r.mu.Lock()
	f := r.next
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.next = f
		if !r.busy {
			r.busy = true
			running.Go(func() { r.fly(serving) })
		}
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly asks until nobody wants it any more.
func (r *refresher) fly(ctx context.Context) {
	for {
		r.mu.Lock()
		if r.next == nil {
			r.busy = false
			r.mu.Unlock()
			return
		}
		wait := time.Until(r.last.Add(refreshApart))
		r.mu.Unlock()
		_ = delay.Sleep(ctx, wait)
		r.mu.Lock()
		f := r.next
		r.next, r.last = nil, time.Now()
		r.mu.Unlock()
		asking, cancel := context.WithTimeout(ctx, refreshTime)
		f.err = r.ask(asking)
		cancel()
		close(f.done)
	}
}
