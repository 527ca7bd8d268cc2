package store

import (
	"context"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// topic is a resource of a tenant, which reveals wait for.
type topic struct {
	tenant   string
	resource api.Resource
}

// hub wakes waiting reveals, within this process.
type hub struct {
	mu      sync.Mutex                           // guards waiting
	waiting map[topic]map[chan struct{}]struct{} // each channel holds one wake-up
}

func newHub() *hub { return &hub{waiting: map[topic]map[chan struct{}]struct{}{}} }

// subscribe returns a channel that is woken by any change of the topic's bindings, their secrets or keys, and when another
// process has changed any set or revoked any key. It holds at most one wake-up: subscribe, then
// read, then wait, to miss no change.
func (h *hub) subscribe(t topic) (woken <-chan struct{}, unsubscribe func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[t] == nil {
		h.waiting[t] = map[chan struct{}]struct{}{}
	}
	h.waiting[t][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting[t], c)
		if len(h.waiting[t]) == 0 {
			delete(h.waiting, t)
		}
	}
}

// wake wakes the reveals that wait for topics; those of h.waiting are all.
func (h *hub) wake(topics iter.Seq[topic]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range topics {
		for c := range h.waiting[t] {
			nudge(c)
		}
	}
}

// nudge sends a wake-up unless there is one already. It never blocks.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// concerning are the events after which a set may be different, or a key revoked.
var concerning = []string{
	actSecretReplace, actSecretRotate, actSecretDelete, actBindingCreate, actBindingDelete, actBindingMove, actKeyRevoke, actKeyReplace,
}

// ownEvents has the ids of the concerning events that this process writes, until it meets them in the log.
type ownEvents struct {
	mu  sync.Mutex // guards ids
	ids map[string]struct{}
}

// add adds events before their commit. If it fails they remain, so there is a limit.
func (o *ownEvents) add(ids []string) {
	const most = 10_000
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids == nil || len(o.ids) > most {
		o.ids = map[string]struct{}{}
	}
	for _, id := range ids {
		o.ids[id] = struct{}{}
	}
}

// take removes an event, and reports whether it was there.
func (o *ownEvents) take(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.ids[id]
	delete(o.ids, id)
	return ok
}

// changedElsewhere reports whether another process has committed a concerning event after event number *seen, and
// moves *seen to the newest one. Every change is audited in its own transaction, so the audit is enough:
// reveals and key rotations of other processes wake nobody.
func (s *Store) changedElsewhere(ctx context.Context, seen *int64) (changed bool, err error) {
	return read(ctx, s, Actor{local: true}, anyKey, func(t *txn) (bool, error) {
		var newest int64
		if err := t.QueryRow(`SELECT COALESCE(MAX(seq), 0) FROM audit`).Scan(&newest); err != nil || newest <= *seen {
			return false, err
		}
		var c conditions
		c.add("seq >", *seen)
		c.add("seq <=", newest)
		c.in("action", concerning)
		events, err := collect(t, itself, `SELECT id FROM audit`+c.String(), c.args...)
		if err != nil {
			return false, err
		}
		changed := false
		for _, id := range events {
			changed = !s.own.take(id) || changed
		}
		*seen = newest
		return changed, nil
	})
}

// watch wakes all waiting reveals when another process has changed something. It checks once per interval.
func (s *Store) watch(interval time.Duration, seen int64) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-s.open.Done():
			return
		case <-tick.C:
		}
		if err := s.revocations.Refresh(); err != nil {
			s.log.Warn().Err(err).Msg("cannot read the list of revoked keys")
		}
		changed, err := s.changedElsewhere(s.open, &seen)
		if s.open.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn().Err(err).Msg("cannot check for changes by other processes")
		}
		// On an error, wake too: a reveal with nothing new waits again.
		if err != nil || changed {
			s.authenticated.Store(new(authCache))
			s.hub.wake(maps.Keys(s.hub.waiting))
		}
	}
}

// Await waits until the resource's set differs from etag.
// Errors: api.ErrNotModified if it doesn't within wait; ErrUnauthorized as soon as the key is
// revoked or expires; ErrUnavailable when the store closes; ctx's own; else as state.
func (s *Store) Await(ctx context.Context, a Actor, r api.Resource, etag string, wait time.Duration) error {
	woken, unsubscribe := s.hub.subscribe(topic{a.TenantID, r})
	defer unsubscribe()
	deadline := time.After(wait)
	for {
		now, err := s.state(ctx, a, r)
		if err != nil || now.etag != etag {
			return err
		}
		select {
		case <-woken:
		case <-at(now.nextExpiry):
		case <-at(now.keyExpiry):
		case <-deadline:
			return api.ErrNotModified
		case <-ctx.Done():
			return ctx.Err()
		case <-s.open.Done():
			return database.ErrClosed
		}
	}
}

// at receives a value when t has passed, or after a day; with nil, never.
func at(t *time.Time) <-chan time.Time {
	if t == nil {
		return nil
	}
	// The store compares in microseconds: one more, and the time has passed when the timer fires.
	return time.After(min(time.Until(*t), 24*time.Hour) + time.Microsecond) // without overflow
}
