package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
)

// patience is how long the source has to return the first set before the cached one is served.
const patience = 700 * time.Millisecond

// First returns the first set, for a process that needs one to start: the source's, or the cached one if the source doesn't
// return any in time. The status has its origin. The set is shared and must not be wiped. First is called at most once, and
// before Run. Without a cache it starts no goroutine.
// Errors: those of the source or the fallback. The source retries.
func (e *Engine) First(ctx context.Context) (api.Snapshot, error) {
	from := supplier{Source: e.source, cache: e.cache}
	set, err := e.first(ctx, from)
	other, ok, err := e.fallback(ctx, err)
	if ok {
		return e.first(ctx, other)
	}
	return set, err
}

func (e *Engine) first(ctx context.Context, from supplier) (api.Snapshot, error) {
	if from.cache == nil {
		set, err := from.Next(ctx, "")
		return e.begin(set, err, from)
	}
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	var set api.Snapshot
	answered := make(chan error, 1)
	go func() {
		var err error
		set, err = from.Next(asked, "")
		answered <- err
	}()
	impatient := time.NewTimer(patience)
	defer impatient.Stop()
	select {
	case <-impatient.C:
	case err := <-answered:
		if err != nil && !api.RefusesKey(err) && e.serveCache(from.cache) {
			return e.beginFromCache(err)
		}
		return e.begin(set, err, from)
	}
	cached := e.serveCache(from.cache)
	if cached {
		cancel()
	}
	err := <-answered
	if err != nil && cached && !api.RefusesKey(err) { // else it was just in time
		return e.beginFromCache(nil)
	}
	return e.begin(set, err, from)
}

// begin serves the first set of a source, or nothing if it refuses, and updates the cache.
func (e *Engine) begin(set api.Snapshot, err error, from supplier) (api.Snapshot, error) {
	switch {
	case err == nil:
		e.clock.set(from)
		e.asking.take(set)
		e.serve(set, nil, from, 0)
	case api.RefusesKey(err):
		e.revoke(from, err)
	default:
		return api.Snapshot{}, err
	}
	if from.cache != nil {
		if err := e.updateCache(); err != nil {
			e.conf.Log.Error().Err(err).Msg("cache not updated")
		}
	}
	return set, err
}

// beginFromCache returns the cached set, which is served already. sourceErr is for the status.
func (e *Engine) beginFromCache(sourceErr error) (api.Snapshot, error) {
	set, _ := e.Snapshot()
	e.asking.take(set)
	if sourceErr != nil {
		e.publish(func(v *view) { v.blame(sourceErr) })
	}
	return set, nil
}

// serveCache loads the cache and serves its set, and reports whether that worked.
func (e *Engine) serveCache(cache *cache.Cache) bool {
	set, at, ok := e.loadCache(cache)
	return ok && e.serveCached(set, at, e.now.Load().status.Vault)
}

// loadCache returns the cached set, and when the vault confirmed it. It logs why a cache can't be used.
func (e *Engine) loadCache(cache *cache.Cache) (set api.Snapshot, at time.Time, ok bool) {
	set, at, err := cache.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.conf.Log.Warn().Err(err).Msg("cache unusable")
	}
	if err != nil {
		return api.Snapshot{}, time.Time{}, false
	}
	return e.memory.Keep(set), at.UTC(), true
}

// serveCached serves a cached set of vault if nothing else is served or refused yet, and reports whether a set is served.
func (e *Engine) serveCached(set api.Snapshot, at time.Time, vault string) bool {
	e.publish(func(v *view) {
		if v.status.State != Starting {
			return
		}
		v.set, v.status.State, v.status.Origin, v.status.Vault = set, Stale, FromCache, vault
		v.status.ConfirmedAt, v.asleep = at, asleep()
	})
	e.tidy()
	return e.now.Load().serves()
}
