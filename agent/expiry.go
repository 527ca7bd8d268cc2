package agent

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// The vault ends a wait when a bound secret expires. Whoever can't reach it then drops the secret all the
// same, by the vault's clock as far as it is known, and is left with the set that the vault will name without it.

// longestLook is how long the clock isn't looked at while something is to expire: it may have been set, or
// the machine suspended.
const longestLook = 10 * time.Second

// leastSkew is the least difference between this machine's clock and the vault's that counts: the vault tells
// its time in whole seconds, and an answer takes its time too.
const leastSkew = 5 * time.Second

// clock is the vault's, as far as it is known: a machine whose own is wrong keeps values for as long as they are good.
type clock struct{ ahead atomic.Int64 } // how far this machine's is ahead

// see learns from a source that has asked.
func (c *clock) see(src Source) {
	s, ok := src.(interface {
		ClockSkew() (time.Duration, bool)
	})
	if !ok {
		return
	}
	if ahead, known := s.ClockSkew(); known && ahead.Abs() >= leastSkew {
		c.ahead.Store(int64(ahead))
	} else if known {
		c.ahead.Store(0)
	}
}

func (c *clock) now() time.Time { return time.Now().Add(-time.Duration(c.ahead.Load())) }

// untilLook is how long to wait before looking whether what expires then has expired.
func (c *clock) untilLook(at time.Time) time.Duration {
	return min(max(0, at.Sub(c.now())), longestLook)
}

// expiry is when the first of a set's values expires; zero: none does.
func expiry(s api.Snapshot) (at time.Time) {
	for _, b := range s.Bound {
		if b.ExpiresAt != nil && (at.IsZero() || b.ExpiresAt.Before(at)) {
			at = *b.ExpiresAt
		}
	}
	return at
}

// unexpired parts a set in what is left of it at a time, under the etag that the vault gives to that, and what has
// expired. The values are the set's own. Where nothing has expired the set is left as it is.
func unexpired(s api.Snapshot, now time.Time) (left api.Snapshot, expired []api.Bound) {
	if at := expiry(s); at.IsZero() || at.After(now) {
		return s, nil
	}
	left = api.Snapshot{Resource: s.Resource, Bound: make([]api.Bound, 0, len(s.Bound))}
	labels := make([]api.Label, 0, len(s.Bound))
	for _, b := range s.Bound {
		if b.ExpiresAt != nil && !b.ExpiresAt.After(now) {
			expired = append(expired, b)
			continue
		}
		left.Bound, labels = append(left.Bound, b), append(labels, b.Label)
	}
	left.Etag = api.Etag(s.Resource, labels)
	return left, expired
}

// lastOf is when the last of them expired; zero where there are none.
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

// look gives what is served, after what has expired was dropped.
func (a *Agent) look() *view {
	v := a.now.Load()
	now := a.clock.now()
	if v.expires.IsZero() || v.expires.After(now) {
		return v
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	left, expired := unexpired(a.now.Load().set, now)
	if expired == nil {
		return a.now.Load()
	}
	left = a.memory.copy(left)
	a.change(func(v *view) {
		v.set, v.status.Expired = left, slices.Concat(v.status.Expired, envNames(expired))
		v.dropped = lastOf(expired)
		v.status.Counts.Changes++
	})
	a.conf.Log.Info().Strs("names", envNames(expired)).Str("etag", left.Etag).Msg("secrets have expired: they are no longer served")
	a.save()
	a.tidy()
	return a.now.Load()
}

// expire drops what expires, when it does, until ctx ends.
func (a *Agent) expire(ctx context.Context) {
	for {
		v := a.look()
		var due <-chan time.Time
		if !v.expires.IsZero() {
			due = time.After(a.clock.untilLook(v.expires))
		}
		select {
		case <-ctx.Done():
			return
		case <-v.changed: // a wake too
		case <-due:
		}
	}
}

// held is what the sinks of a Follow have.
type held struct {
	set   api.Snapshot
	sinks []Sink
	less  bool      // something has expired since the vault gave the set
	last  time.Time // when the last of that did
	clock clock
}

// take hands a new set to the sinks, unless it is what they have since something expired.
func (h *held) take(set api.Snapshot) {
	left, expired := unexpired(set, h.clock.now())
	api.Snapshot{Bound: expired}.Wipe()
	if h.less = h.less || expired != nil; h.less && left.Etag == h.set.Etag {
		left.Wipe()
		return
	}
	h.less, h.last = expired != nil, lastOf(expired)
	h.give(left)
}

func (h *held) give(set api.Snapshot) {
	h.set = set
	for _, s := range h.sinks {
		s.Take(set)
	}
}

// during returns what comes of work, and hands on what is left when something expires meanwhile.
func during[T any](h *held, k *asking, work func() T) T {
	if expiry(h.set).IsZero() {
		return work()
	}
	done := make(chan T, 1)
	go func() { done <- work() }()
	for {
		var due <-chan time.Time
		if at := expiry(h.set); !at.IsZero() {
			due = time.After(h.clock.untilLook(at))
		}
		select {
		case came := <-done:
			return came
		case <-due:
		}
		if left, expired := unexpired(h.set, h.clock.now()); expired != nil {
			h.less, h.last = true, lastOf(expired)
			k.log.Info().Strs("names", envNames(expired)).Str("etag", left.Etag).Msg("secrets have expired: they are no longer served")
			h.give(left)
		}
	}
}
