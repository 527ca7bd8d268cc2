package agent

import (
	"context"
	"slices"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/pace"
)

const (
	saveRetry = time.Second // the first pause after a cache couldn't be saved or wiped
	saveShare = 24          // an unchanged set is saved again after 1/saveShare of the cache's longest age
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

// kept describes the content of the cache.
type kept struct {
	cache *cache.Cache
	etag  string    // of its set; empty: not known
	at    time.Time // when the source confirmed the set
	wiped bool
}

// updateCache saves the set, or after a refusal removes the cache. It removes the cache that was replaced, if any. It does
// nothing if everything is up to date.
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

// keepCache keeps the cache up to date until ctx ends, and updates it once more then.
func (e *Engine) keepCache(ctx context.Context) {
	failures, retries := 0, delay.NewBackoff(saveRetry, pace.LongestRetry)
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

// collect frees the values of sets that are no longer served, as soon as they are unused. After a refusal it frees those in
// use too.
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
			began = time.Now() // outputs and replies in progress still use the old set
			pauses.Reset()
			turn.Reset(pauses.Next())
			continue
		case <-turn.C:
		}
		v := e.now.Load()
		kept := 0
		if v.serves() && slices.ContainsFunc(v.set.Bound, func(b api.Bound) bool { return b.Value.Len() > 0 }) {
			kept = 1
		}
		passed := time.Since(began)
		if v.status.State == Refused && passed > wipeAfter {
			e.memory.Wipe(v.refused) // a set that comes now is newer
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
