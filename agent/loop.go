package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/rs/zerolog"
)

const (
	cacheAfter   = 700 * time.Millisecond // of a start without an answer: the cached set is served
	refusedPause = time.Minute            // between asking a vault that refuses, about
	longestNext  = 2 * time.Minute        // a source that is silent for longer has lost its way
	longestAsk   = 9 * time.Second        // the same, where the vault isn't asked to wait: a busy machine has given up within 10 s
	wakeApart    = 500 * time.Millisecond // between two wakes, so that the later one too is fresh within a second
	wakeHurry    = 30 * time.Second       // after a wake pauses are short
	wakePause    = 500 * time.Millisecond // that short, at most
	sleepNoticed = 2 * time.Second        // a suspend that makes a difference
)

// step is one turn of the loop.
type step struct {
	ctx       context.Context //nolint:containedctx // ends with the turn
	cancel    context.CancelFunc
	source    Source
	replaced  int          // how often it had been exchanged
	refreshes []chan error // to be told what comes of it
	woken     time.Time
}

// loop asks the vault until ctx ends.
func (a *Agent) loop(ctx context.Context) {
	k := &asking{log: a.conf.Log, retry: newRetry(), seen: versions{}, news: zerolog.InfoLevel}
	warm := a.warm(k)
	defer warm.Stop()
	a.mu.Lock()
	a.hurried = true // for the first set
	a.mu.Unlock()
	slept, troubled := asleep(), false
	woken, tries := time.Time{}, 0
	for ctx.Err() == nil {
		if now := asleep(); now-slept >= sleepNoticed { // where nobody watches
			slept = now
			a.Wake("slept")
		}
		s, atOnce := a.begin(ctx)
		if s.woken != woken {
			woken, tries = s.woken, 0
		}
		ask, limit := question(k, &s, atOnce, tries)
		if troubled { // then the source answers at once
			limit = min(limit, longestAsk)
		}
		tries++
		began := time.Now()
		a.pulse.expect(limit)
		got := k.next(s.ctx, limit, ask)
		a.pulse.expect(0)
		if got.outcome == interrupted {
			a.again(s)
			continue
		}
		if got.outcome == refused && a.exchanged(&s) {
			a.again(s) // the key that is refused has been replaced
			continue
		}
		s.cancel()
		a.clock.see(s.source)
		took := time.Duration(0)
		if atOnce || troubled {
			took = time.Since(began)
		}
		troubled = false
		pause := time.Duration(0)
		switch got.outcome {
		case changed:
			a.take(got.set, s.source, took)
		case confirmed:
			if a.look().dropped.After(a.clock.now()) {
				k.etag = "" // it was dropped by a clock that was wrong: get it again
			}
			a.confirm(s.source, took)
		case refused:
			k.etag = ""
			a.refuse(s.source, got.err)
			pause = delay.Jitter(refusedPause)
		case failed:
			troubled = true
			a.fail(got.err)
			pause = got.wait
			if time.Since(s.woken) < wakeHurry && askedFor(got.err) == 0 {
				pause = min(pause, wakePause/2+delay.Random(wakePause/2))
			}
		}
		if asked := askedFor(got.err); asked > 0 {
			pause = max(pause, asked)
			a.leaveAlone(&s, got.err, asked)
		}
		for _, r := range s.refreshes {
			r <- got.err
		}
		a.rest(ctx, pause)
	}
}

// question is how the vault is asked: at once for the whole set, or to wait for a change.
func question(k *asking, s *step, atOnce bool, tries int) (func(context.Context) (api.Snapshot, error), time.Duration) {
	if !atOnce && k.etag != "" {
		return func(ctx context.Context) (api.Snapshot, error) { return s.source.Next(ctx, k.etag) }, longestNext
	}
	limit := longestAsk
	if time.Since(s.woken) < wakeHurry { // a request that was sent into a network not up yet isn't waited for
		limit = min(time.Second<<min(tries, 4), longestAsk)
	}
	return func(ctx context.Context) (api.Snapshot, error) {
		next, err := askNow(ctx, s.source)
		if err == nil && k.etag != "" && next.Etag == k.etag {
			next.Wipe()
			return api.Snapshot{}, api.ErrNotModified
		}
		return next, err
	}, limit
}

// askNow gets the whole set, with one request where the source can do that.
func askNow(ctx context.Context, src Source) (api.Snapshot, error) {
	if s, ok := src.(interface {
		Ask(context.Context) (api.Snapshot, error)
	}); ok {
		return s.Ask(ctx)
	}
	return src.Next(ctx, "")
}

// begin starts a turn, and tells whether the vault is to be asked at once.
func (a *Agent) begin(ctx context.Context) (step, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := step{source: a.source, replaced: a.replaced, refreshes: a.refreshes, woken: a.woken}
	s.ctx, s.cancel = context.WithCancel(ctx)
	atOnce := a.hurried
	a.interrupt, a.hurried, a.refreshes = s.cancel, false, nil
	if drop, ok := s.source.(interface{ Drop() }); ok && atOnce {
		drop.Drop()
	}
	return s, atOnce
}

// again hands back what an interrupted turn was to answer.
func (a *Agent) again(s step) {
	s.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refreshes = append(s.refreshes, a.refreshes...)
	a.change(func(v *view) { v.status.Counts.Asks++ })
}

// exchanged reports whether the source of a turn has been replaced since.
func (a *Agent) exchanged(s *step) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replaced != s.replaced
}

// leaveAlone notes that the vault isn't to be asked for a while, whoever is in a hurry. Who wants a refresh
// gets this turn's answer, also where it came too late for that.
func (a *Agent) leaveAlone(s *step, err error, asked time.Duration) {
	busy, _ := errors.AsType[*api.Error](err)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replaced != s.replaced {
		return // another source didn't say so
	}
	a.quiet, a.busy = time.Now().Add(asked), busy
	s.refreshes, a.refreshes = append(s.refreshes, a.refreshes...), nil
}

// rest waits between two turns. Where somebody is in a hurry it waits as long only as the vault asked for.
func (a *Agent) rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	a.pulse.expect(d)
	defer a.pulse.expect(0)
	for end, over := time.Now().Add(d), false; !over && ctx.Err() == nil; {
		undisturbed, cancel := context.WithCancel(ctx)
		a.mu.Lock()
		a.interrupt = cancel
		until := end
		if a.hurried && a.quiet.Before(end) {
			until = a.quiet
		}
		a.mu.Unlock()
		over = delay.Sleep(undisturbed, time.Until(until)) == nil
		cancel()
	}
}

// warm reads the cache, and serves it if the vault has given nothing soon after.
func (a *Agent) warm(k *asking) *time.Timer {
	cache := a.cacheNow()
	if cache == nil {
		return time.AfterFunc(0, func() {})
	}
	set, at, err := cache.Load()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.conf.Log.Warn().Err(err).Msg("the cache can't be used: waiting for the vault")
		}
		return time.AfterFunc(0, func() {})
	}
	k.raise(set)
	k.stands = true
	set = a.memory.keep(set)
	vault := a.look().status.Vault
	return time.AfterFunc(cacheAfter, func() {
		a.publish(func(v *view) {
			if v.status.State != Starting {
				return
			}
			v.set, v.status.State, v.status.Origin, v.status.Vault = set, Stale, FromCache, vault
			v.status.ConfirmedAt, v.asleep = at.UTC(), asleep()
		})
		set = api.Snapshot{}
		a.tidy()
	})
}

// take serves a new set.
func (a *Agent) take(set api.Snapshot, src Source, roundTrip time.Duration) {
	p, ok := src.(interface{ Placeholders() bool })
	placeholders := ok && p.Placeholders()
	left, expired := unexpired(set, a.clock.now())
	api.Snapshot{Bound: expired}.Wipe()
	if now := a.look(); len(now.status.Expired) > 0 && now.serves() && left.Etag == now.set.Etag {
		left.Wipe() // the vault has come to the same
		a.confirm(src, roundTrip)
		return
	}
	set = a.memory.keep(left)
	a.publish(func(v *view) {
		v.set, v.status.Placeholders, v.status.Expired = set, placeholders, envNames(expired)
		v.dropped = lastOf(expired)
		v.status.Counts.Asks++
		v.status.Counts.Changes++
		v.confirm(src, roundTrip)
	})
	a.save()
	a.tidy()
}

// confirm notes that the set stands.
func (a *Agent) confirm(src Source, roundTrip time.Duration) {
	a.publish(func(v *view) {
		v.status.Counts.Asks++
		v.confirm(src, roundTrip)
	})
	a.save()
}

func (v *view) confirm(src Source, roundTrip time.Duration) {
	v.status.State, v.status.Origin, v.status.Vault, v.refusal = Fresh, FromVault, vaultOf(src), nil
	v.status.ConfirmedAt, v.asleep = time.Now().UTC(), asleep()
	if roundTrip > 0 {
		v.status.RoundTrip = float64(roundTrip.Microseconds()) / 1000
	}
}

// fail notes that nothing came.
func (a *Agent) fail(err error) {
	a.publish(func(v *view) {
		if v.status.State == Fresh {
			v.status.State = Stale
		}
		v.status.Counts.Asks++
		v.status.Counts.Failures++
		v.blame(err)
	})
}

// refuse stops serving anything.
func (a *Agent) refuse(src Source, err error) {
	first := a.Status().State != Refused
	a.publish(func(v *view) {
		v.set = api.Snapshot{}
		v.status.State, v.status.Origin, v.status.Placeholders, v.status.Expired = Refused, "", false, nil
		v.status.Vault = vaultOf(src)
		v.dropped = time.Time{}
		v.status.ConfirmedAt, v.status.Age, v.refusal = time.Time{}, 0, err
		v.status.Counts.Asks++
		v.status.Counts.Refusals++
		v.blame(err)
	})
	a.save() // which wipes
	a.tidy()
	if first {
		a.conf.Log.Error().Err(err).Msg("the vault refuses: values, cache and outputs are removed")
		if a.conf.OnRevoke != nil {
			a.conf.OnRevoke()
		}
	}
}

func (v *view) blame(err error) {
	v.status.LastError, v.status.LastHint, v.status.LastErrorAt = api.RedactKeys(err.Error()), advice(err), time.Now().UTC()
}
