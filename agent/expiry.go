package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// The vault ends a wait when a bound secret expires. An engine that can't reach it drops the secret by itself, at the
// same time by the vault's clock, and then has the set that the vault has without it, under the same etag.

// longestUnchecked is how often the clock is checked at least while something is to expire: it may have been set, or
// the machine suspended.
const longestUnchecked = 10 * time.Second

// leastSkew is the least difference between this machine's clock and the vault's that counts: the vault gives its
// time in whole seconds, and an answer takes time too.
const leastSkew = 5 * time.Second

// clock is the vault's, if it is known: a machine whose own is wrong keeps values for as long as they are good.
type clock struct{ ahead atomic.Int64 } // how far this machine's is ahead

// set learns from a source that has answered.
func (c *clock) set(src Source) {
	if ahead, known := src.ClockSkew(); known && ahead.Abs() >= leastSkew {
		c.ahead.Store(int64(ahead))
	} else if known {
		c.ahead.Store(0)
	}
}

func (c *clock) now() time.Time { return time.Now().Add(-time.Duration(c.ahead.Load())) }

// untilCheck is how long to wait before checking what expires at a time.
func (c *clock) untilCheck(at time.Time) time.Duration {
	return min(max(0, at.Sub(c.now())), longestUnchecked)
}

// lastOf is when the last of them expired; zero if there are none.
func lastOf(expired []api.Bound) (at time.Time) {
	for _, b := range expired {
		if b.ExpiresAt.After(at) {
			at = *b.ExpiresAt
		}
	}
	return at
}

func envNames(list []api.Bound) []string {
	var all []string
	for _, b := range list {
		all = append(all, b.ExposeAsEnv)
	}
	return all
}

// expire drops what expires, when it does, until ctx ends.
func (e *Engine) expire(ctx context.Context) {
	for {
		v := e.dropExpired()
		var due <-chan time.Time
		if !v.expires.IsZero() {
			due = time.After(e.clock.untilCheck(v.expires))
		}
		select {
		case <-ctx.Done():
			return
		case <-v.changed: // by a wake too
		case <-due:
		}
	}
}

// dropExpired publishes what is left of the set, if something has expired, and returns what is published now.
func (e *Engine) dropExpired() *view {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.now.Load()
	left := old.at(e.clock.now())
	if left == old {
		return old
	}
	e.change(func(v *view) {
		v.set, v.status, v.dropped = e.memory.Copy(left.set), left.status, left.dropped
	})
	names := left.status.Expired[len(old.status.Expired):]
	e.conf.Log.Info().Strs("names", names).Str("etag", left.set.Etag).Msg("secrets expired")
	e.save()
	e.tidy()
	return e.now.Load()
}
