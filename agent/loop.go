package agent

import (
	"context"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/pace"
)

const (
	refusedPause = time.Minute     // between requests to a source that refuses, about
	longestNext  = 2 * time.Minute // for a request that waits for a change
	longestAsk   = 9 * time.Second // for one that doesn't, so that it ends within 10 s on a busy machine
	sleepNoticed = 2 * time.Second // the shortest suspend that counts
)

// turn is a turn of the loop: one request, or two if there is a fallback.
type turn struct {
	ctx       context.Context //nolint:containedctx // ends with the turn
	cancel    context.CancelFunc
	from      supplier      // that is asked
	replaced  int           // Engine.replaced at the start
	refreshes []chan error  // of Refresh calls that this turn answers
	woken     time.Time     // of the latest wake
	atOnce    bool          // the set is wanted at once
	limit     time.Duration // of each request
}

// loop asks the source until ctx ends.
func (e *Engine) loop(ctx context.Context) {
	k := &e.asking
	k.retry = pace.NewRetry()
	if e.now.Load().status.State == Starting { // else First has a set
		if cache := e.cacheNow(); cache != nil {
			vault := e.now.Load().status.Vault
			if set, at, ok := e.loadCache(cache); ok {
				k.raise(set)
				e.tasks.Go(func() {
					if delay.Sleep(ctx, patience) == nil {
						e.serveCached(set, at, vault)
					}
				})
			}
		}
		e.mu.Lock()
		e.hurried = true
		e.mu.Unlock()
	}
	slept, troubled := asleep(), false
	woken, tries := time.Time{}, 0
	for ctx.Err() == nil {
		if now := asleep(); now-slept >= sleepNoticed { // where nothing watches for suspends
			slept = now
			e.Wake("slept")
		}
		t := e.nextTurn(ctx)
		if t.woken != woken {
			woken, tries = t.woken, 0
		}
		t.limit = longestNext
		if t.atOnce || k.etag == "" {
			t.limit = longestAsk
			if time.Since(t.woken) < wakeHurry { // a request that was sent before the network was up gets no answer
				t.limit = min(time.Second<<min(tries, 4), longestAsk)
			}
		} else if troubled { // then the source answers at once
			t.limit = longestAsk
		}
		tries++
		began := time.Now()
		got := e.request(t)
		if got.outcome == interrupted || got.outcome == refused && e.exchanged(t) { // another key may not be refused
			e.putBack(t)
			continue
		}
		t.cancel()
		e.clock.set(t.from)
		took := time.Duration(0)
		if t.atOnce || troubled {
			took = time.Since(began)
		}
		troubled = got.outcome == noSet
		pause := time.Duration(0)
		switch got.outcome {
		case changed:
			e.take(got.set, t.from, took)
		case confirmed:
			if e.served().dropped.After(e.clock.now()) {
				k.etag = "" // a wrong clock dropped it: get it again
			}
			e.confirm(t.from, took)
		case refused:
			e.revoke(t.from, got.err)
			pause = delay.Jitter(refusedPause)
		case noSet:
			e.fail(got.err)
			pause = got.wait
			if time.Since(t.woken) < wakeHurry && askedFor(got.err) == 0 {
				pause = min(pause, wakePause/2+delay.Random(wakePause/2))
			}
		}
		if asked := askedFor(got.err); asked > 0 {
			pause = max(pause, asked)
			e.leaveAlone(t, got.err, asked)
		}
		for _, r := range t.refreshes {
			r <- got.err
		}
		e.rest(ctx, pause)
	}
}

// nextTurn begins a turn.
func (e *Engine) nextTurn(ctx context.Context) *turn {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := &turn{from: supplier{Source: e.source, cache: e.cache}, replaced: e.replaced, refreshes: e.refreshes, woken: e.woken, atOnce: e.hurried}
	t.ctx, t.cancel = context.WithCancel(ctx)
	e.interrupt, e.hurried, e.refreshes = t.cancel, false, nil
	if t.atOnce {
		t.from.Drop()
	}
	return t
}

// request asks the source of a turn, or the fallback if that fails.
func (e *Engine) request(t *turn) answer {
	set, err := e.ask(t)
	other, ok, err := e.fallback(t.ctx, err)
	if ok {
		t.from = other
		set, err = e.ask(t)
	}
	return e.judge(t.ctx, set, err)
}

// ask makes one request, for the set or for a change.
func (e *Engine) ask(t *turn) (api.Snapshot, error) {
	e.expect(t.limit)
	defer e.expect(0)
	ctx, cancel := context.WithTimeout(t.ctx, t.limit)
	defer cancel()
	var set api.Snapshot
	var err error
	etag := e.asking.etag
	if t.atOnce || etag == "" {
		set, err = t.from.Ask(ctx)
		if err == nil && etag != "" && set.Etag == etag {
			set.Wipe()
			return api.Snapshot{}, api.ErrNotModified
		}
	} else {
		set, err = t.from.Next(ctx, etag)
	}
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		err = errSilent
	}
	return set, err
}

// putBack leaves the Refresh calls of a turn to the next one.
func (e *Engine) putBack(t *turn) {
	t.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refreshes = append(t.refreshes, e.refreshes...)
	e.change(func(v *view) { v.status.Counts.Asks++ })
}

// exchanged reports whether the source was replaced since the start of a turn.
func (e *Engine) exchanged(t *turn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.replaced != t.replaced
}

// leaveAlone prevents requests for as long as the vault has asked for, even those of Refresh and Wake. Refresh calls that
// came during the turn get its error too.
func (e *Engine) leaveAlone(t *turn, err error, asked time.Duration) {
	busy, _ := errors.AsType[*api.Error](err)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.replaced != t.replaced {
		return // the new source may be another vault
	}
	e.quiet, e.busy = time.Now().Add(asked), busy
	t.refreshes, e.refreshes = append(t.refreshes, e.refreshes...), nil
}

// rest waits between two turns: for d, or after askAtOnce only as long as the vault has asked for.
func (e *Engine) rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	e.expect(d)
	defer e.expect(0)
	for end, over := time.Now().Add(d), false; !over && ctx.Err() == nil; {
		undisturbed, cancel := context.WithCancel(ctx)
		e.mu.Lock()
		e.interrupt = cancel
		until := end
		if e.hurried && e.quiet.Before(end) {
			until = e.quiet
		}
		e.mu.Unlock()
		over = delay.Sleep(undisturbed, time.Until(until)) == nil
		cancel()
	}
}

// take serves a new set.
func (e *Engine) take(set api.Snapshot, from supplier, roundTrip time.Duration) {
	left, expired := set.Unexpired(e.clock.now())
	api.Snapshot{Bound: expired}.Wipe()
	if now := e.served(); len(now.status.Expired) > 0 && now.serves() && left.Etag == now.set.Etag {
		left.Wipe() // the engine has dropped the same values
		e.confirm(from, roundTrip)
		return
	}
	e.serve(e.memory.Keep(left), expired, from, roundTrip)
}

// serve publishes a set. expired are the values that were removed from it.
func (e *Engine) serve(set api.Snapshot, expired []api.Bound, from supplier, roundTrip time.Duration) {
	e.publish(func(v *view) {
		v.set, v.status.Placeholders, v.status.Expired = set, from.Placeholders(), envNames(expired)
		v.dropped = lastOf(expired)
		v.status.Counts.Changes++
		v.confirm(from, e.keeps(from), roundTrip)
	})
	e.save()
	e.tidy()
}

// confirm notes that the source has confirmed the set.
func (e *Engine) confirm(from supplier, roundTrip time.Duration) {
	e.publish(func(v *view) { v.confirm(from, e.keeps(from), roundTrip) })
	e.save()
}

func (v *view) confirm(from Source, keep bool, roundTrip time.Duration) {
	v.status.Counts.Asks++
	v.status.State, v.status.Origin, v.status.Vault, v.refusal = Fresh, FromVault, from.Vault(), nil
	v.status.ConfirmedAt, v.asleep, v.keep = time.Now().UTC(), asleep(), keep
	if roundTrip > 0 {
		v.status.RoundTrip = float64(roundTrip.Microseconds()) / 1000
	}
}

// fail notes that a request failed.
func (e *Engine) fail(err error) {
	e.publish(func(v *view) {
		if v.status.State == Fresh {
			v.status.State = Stale
		}
		v.status.Counts.Asks++
		v.status.Counts.Failures++
		v.blame(err)
	})
}

func (v *view) blame(err error) {
	v.status.LastError, v.status.LastHint, v.status.LastErrorAt = api.RedactKeys(err.Error()), hintOf(err), time.Now().UTC()
}
