package agent

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	saveRetry = time.Second // the first pause after a cache couldn't be saved or wiped
	saveShare = 24          // an unchanged set is saved again after this share of its longest age
)

// save signals that the cache may have to be saved or wiped.
func (e *Engine) save() { trySend(e.saving) }

// tidy signals that superseded values can be freed.
func (e *Engine) tidy() { trySend(e.stale) }

func (e *Engine) cacheNow() *cache.Cache {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cache
}

// kept is what is known of the cache's content.
type kept struct {
	cache *cache.Cache
	etag  string    // of the set in it; empty: not known
	at    time.Time // when the source confirmed that
	wiped bool
}

// updateCache makes the cache equal to what the source said last: it saves the set, or after a refusal removes the
// file. If the engine has another cache than before it removes the old one. It does nothing if all is up to date.
func (e *Engine) updateCache() error {
	v, k := e.served(), &e.kept
	if cache, old := e.cacheNow(), k.cache; cache != old {
		if old != nil && (cache == nil || cache.Path() != old.Path()) {
			if err := old.Wipe(); err != nil {
				e.conf.Log.Error().Err(err).Msg("cannot remove old cache")
			}
		}
		*k = kept{cache: cache}
	}
	switch {
	case k.cache == nil:
	case v.status.State == Refused && !k.wiped:
		if err := k.cache.Wipe(); err != nil {
			return err
		}
		k.etag, k.wiped = "", true
		e.conf.Log.WithLevel(e.conf.Changes).Msg("cache wiped")
	case v.keep && (v.status.State == Fresh || v.status.State == Stale && len(v.status.Expired) > 0) &&
		(v.set.Etag != k.etag || v.status.ConfirmedAt.Sub(k.at) > k.cache.MaxAge()/saveShare):
		if err := k.cache.Save(v.set, v.status.ConfirmedAt); err != nil {
			return err
		}
		k.etag, k.at, k.wiped = v.set.Etag, v.status.ConfirmedAt, false
		e.publish(func(v *view) { v.status.Counts.CacheSaves++ })
	}
	return nil
}

// keepCache keeps the cache up to date until ctx ends, and brings it up to date once more then.
func (e *Engine) keepCache(ctx context.Context) {
	failures, retries := 0, delay.NewBackoff(saveRetry, longestRetry)
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for ending := false; !ending; {
		select {
		case <-ctx.Done():
			ending = true
		case <-e.saving:
		case <-retry.C:
		}
		retry.Stop()
		err := e.updateCache()
		if err == nil {
			failures = 0
			retries.Reset()
			continue
		}
		retry.Reset(retries.Next())
		if failures++; failures == 1 {
			e.conf.Log.Error().Err(err).Msg("cache not updated")
		}
	}
}

// collect frees the values of sets that are no longer served, once they aren't in use. After a refusal it frees them
// in any case.
func (e *Engine) collect(ctx context.Context) {
	turn := time.NewTimer(time.Hour)
	defer turn.Stop()
	var began time.Time
	pauses := delay.NewBackoff(100*time.Millisecond, 10*time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.stale:
			began = time.Now() // outputs and answers under way still have the old set
			pauses.Reset()
			turn.Reset(pauses.Next())
			continue
		case <-turn.C:
		}
		v := e.now.Load()
		kept := 1
		if !v.serves() {
			kept = 0
		}
		passed := time.Since(began)
		if v.status.State == Refused && passed > wipeAfter {
			e.memory.Wipe()
		}
		if e.memory.Collect() <= kept || passed > time.Minute { // or the next change tries again
			continue
		}
		wait := pauses.Next()
		if v.status.State == Refused {
			wait = min(wait, wipeAfter/2)
		}
		turn.Reset(wait)
	}
}
