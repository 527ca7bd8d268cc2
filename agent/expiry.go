package agent

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// The vault ends a wait when a bound secret expires. An engine that can't reach the vault drops the secret at the same
// time, by the vault's clock. It then has the set that the vault has without the secret, with the same etag.

const (
	longestUnchecked = 10 * time.Second // the clock may be set, or the machine suspended, while a value is to expire
	leastSkew        = 5 * time.Second  // that counts: the vault sends its time in whole seconds, and responses take time
)

// clock is the vault's clock if that is known, so that values expire at the right time on a machine whose clock is wrong.
type clock struct{ ahead atomic.Int64 } // of this machine's clock

// set updates the clock from a source that has answered.
func (c *clock) set(src Source) {
	if ahead, known := src.ClockSkew(); known && ahead.Abs() >= leastSkew {
		c.ahead.Store(int64(ahead))
	} else if known {
		c.ahead.Store(0)
	}
}

func (c *clock) now() time.Time { return time.Now().Add(-time.Duration(c.ahead.Load())) }

// lastOf returns when the last of them expired, or zero if there are none.
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

// expired reports whether a value has expired at a time.
func (v *view) expired(now time.Time) bool { return !v.expires.IsZero() && !v.expires.After(now) }

// expire drops values when they expire, until ctx ends.
func (e *Engine) expire(ctx context.Context) {
	for {
		v := e.served()
		var due <-chan time.Time
		if !v.expires.IsZero() {
			due = time.After(min(max(0, v.expires.Sub(e.clock.now())), longestUnchecked))
		}
		select {
		case <-ctx.Done():
			return
		case <-v.changed: // by a wake too
		case <-due:
		}
	}
}

// dropExpired publishes a view without the values that have expired, and returns the current view.
func (e *Engine) dropExpired() *view {
	e.mu.Lock()
	defer e.mu.Unlock()
	old, now := e.now.Load(), e.clock.now()
	if !old.expired(now) {
		return old
	}
	left, expired := old.set.Unexpired(now)
	names := envNames(expired)
	e.change(func(v *view) {
		v.set, v.dropped = e.memory.Copy(left), lastOf(expired)
		v.status.Expired = slices.Concat(v.status.Expired, names)
		v.status.Counts.Changes++
	})
	e.conf.Log.Info().Strs("names", names).Str("etag", left.Etag).Msg("secrets expired")
	e.save()
	e.tidy()
	return e.now.Load()
}
