package agent

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	saveRetry = time.Second // the first pause after a cache couldn't be saved or wiped
	saveShare = 24          // an unchanged set is saved again after this share of its longest age
	wipeAfter = time.Second // of a revocation, values go even if somebody still holds them
)

// save has the cache saved or wiped, whichever is due.
func (a *Agent) save() { tell(a.saving) }

// tidy has superseded values freed.
func (a *Agent) tidy() { tell(a.stale) }

func (a *Agent) cacheNow() *Cache {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cache
}

// persist keeps the cache equal to what the vault last said, until ctx ends. It begins with the first.
func (a *Agent) persist(ctx context.Context, first *Cache) {
	var last struct {
		cache *Cache
		etag  string
		at    time.Time
		wiped bool
	}
	last.cache = first
	failures, retries := 0, delay.NewBackoff(saveRetry, longestRetry)
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for ending := false; !ending; {
		select {
		case <-ctx.Done():
			ending = true // and save a last time
		case <-a.saving:
		case <-retry.C:
		}
		retry.Stop()
		v, cache := a.look(), a.cacheNow()
		var err error
		if old := last.cache; cache != old {
			if old != nil && (cache == nil || cache.Path() != old.Path()) {
				if err := old.Wipe(); err != nil {
					a.conf.Log.Error().Err(err).Msg("the old cache can't be removed")
				}
			}
			last.cache, last.etag, last.at, last.wiped = cache, "", time.Time{}, false
		}
		switch {
		case cache == nil:
		case v.status.State == Refused && !last.wiped:
			if err = cache.Wipe(); err == nil {
				last.etag, last.wiped = "", true
				a.conf.Log.Info().Msg("cache wiped")
			}
		case (v.status.State == Fresh || v.status.State == Stale && len(v.status.Expired) > 0) &&
			(v.set.Etag != last.etag || v.status.ConfirmedAt.Sub(last.at) > cache.conf.maxAge()/saveShare):
			if err = cache.Save(v.set, v.status.ConfirmedAt); err == nil {
				last.etag, last.at, last.wiped = v.set.Etag, v.status.ConfirmedAt, false
				a.publish(func(v *view) { v.status.Counts.CacheSaves++ })
			}
		}
		if err == nil {
			failures = 0
			retries.Reset()
			continue
		}
		retry.Reset(retries.Next())
		if failures++; failures == 1 {
			a.conf.Log.Error().Err(err).Msg("the cache isn't up to date")
		}
	}
}

// collect frees the values of sets that are served no more, once nobody uses them. After a revocation
// they go in any case.
func (a *Agent) collect(ctx context.Context) {
	turn := time.NewTimer(time.Hour)
	defer turn.Stop()
	var began time.Time
	pauses := delay.NewBackoff(100*time.Millisecond, 10*time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.stale:
			// Outputs and answers under way still have the old set.
			began = time.Now()
			pauses.Reset()
			turn.Reset(pauses.Next())
			continue
		case <-turn.C:
		}
		v := a.now.Load()
		kept := 1
		if !v.serves() {
			kept = 0
		}
		passed := time.Since(began)
		if v.status.State == Refused && passed > wipeAfter {
			a.memory.wipe()
		}
		if a.memory.collect() <= kept || passed > time.Minute { // or the next change tries again
			continue
		}
		wait := pauses.Next()
		if v.status.State == Refused {
			wait = min(wait, wipeAfter/2)
		}
		turn.Reset(wait)
	}
}
