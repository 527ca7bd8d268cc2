package agent

import (
	"context"
	"errors"
	"io/fs"
	"sync"
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
	cached := e.afterPatience(from.cache)
	defer cached.timer.Stop()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		set api.Snapshot
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		set, err := from.Next(asked, "")
		answered <- answer{set, err}
	}()
	for {
		changed := e.Changed() // before the state is read, so that no change is missed
		if e.now.Load().serves() {
			cancel()
			if got := <-answered; got.err == nil { // it was just in time
				return e.begin(got.set, nil, from)
			}
			return e.beginFromCache(nil)
		}
		select {
		case <-changed:
		case got := <-answered:
			if got.err != nil && !api.RefusesKey(got.err) && cached.serve() {
				return e.beginFromCache(got.err)
			}
			return e.begin(got.set, got.err, from)
		}
	}
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

// cachedSet is the cached set, as long as it may be needed at the start.
type cachedSet struct {
	engine *Engine
	timer  *time.Timer

	mu    sync.Mutex   // guards the fields below
	cache *cache.Cache // nil once it was loaded
	vault string
	set   api.Snapshot // empty: none, or it is served
	at    time.Time    // when the vault confirmed it
}

// afterPatience serves the cached set after patience, unless the source has answered before.
func (e *Engine) afterPatience(cache *cache.Cache) *cachedSet {
	c := &cachedSet{engine: e, cache: cache, vault: e.now.Load().status.Vault}
	c.timer = time.AfterFunc(patience, func() { c.serve() })
	return c
}

// load returns the cached set. It logs once if that can't be used.
func (c *cachedSet) load() (api.Snapshot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cache != nil {
		set, at, err := c.cache.Load()
		c.cache = nil
		switch {
		case err == nil:
			c.set, c.at = c.engine.memory.Keep(set), at.UTC()
		case !errors.Is(err, fs.ErrNotExist):
			c.engine.conf.Log.Warn().Err(err).Msg("cache unusable")
		}
	}
	return c.set, c.set.Etag != ""
}

// serve serves the cached set if nothing else is served or refused yet, and reports whether a set is served.
func (c *cachedSet) serve() bool {
	set, ok := c.load()
	if ok {
		c.engine.publish(func(v *view) {
			if v.status.State != Starting {
				return
			}
			v.set, v.status.State, v.status.Origin, v.status.Vault = set, Stale, FromCache, c.vault
			v.status.ConfirmedAt, v.asleep = c.at, asleep()
		})
		c.mu.Lock()
		c.set = api.Snapshot{}
		c.mu.Unlock()
		c.engine.tidy()
	}
	return c.engine.now.Load().serves()
}
