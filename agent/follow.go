// Package agent keeps a machine's bound values fresh: it follows a Source of snapshots and hands
// every change to its Sinks.
package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/rs/zerolog"
)

// Source gives snapshots of one resource: at once where etag is "", else as soon as the set differs
// from the one that etag names. It may return api.ErrNotModified to say that all is well and the set
// stands, and does so at once after a call that ended with an error. fetch.Source is one.
type Source interface {
	Next(ctx context.Context, etag string) (api.Snapshot, error)
}

// Sink takes every snapshot that differs from the one before, in order, one at a time. It shares the
// snapshot with the other sinks, and must not wipe it.
type Sink interface{ Take(api.Snapshot) }

const (
	firstRetry   = 250 * time.Millisecond // the pause after an attempt that failed; doubled each time
	longestRetry = 30 * time.Second
	longestAsked = time.Hour // a vault that asks for more is asked again after this
)

func newRetry() *delay.Backoff { return delay.NewBackoff(firstRetry, longestRetry) }

var (
	errUnchanged = errors.New("the vault gave the same set again")
	errSilent    = errors.New("the vault didn't answer in time")
)

// backwards is a set with a lower version of a secret than one seen before: the vault's store was rolled
// back, or an old answer was brought up again. Which of them it is, no agent can tell.
type backwards struct {
	secretID  string
	got, seen int64
}

func (b *backwards) Error() string {
	return fmt.Sprintf("the vault gave a lower version of a secret than before: %d of %s, after %d", b.got, b.secretID, b.seen)
}

func (b *backwards) Advice() string {
	return "if the vault was restored from an older backup and its values are the ones to have: stop miosa-env, delete its cache, start it; " +
		"if it wasn't, something on the way brings up old answers"
}

// advice is what to do about an error; empty where nobody knows.
func advice(err error) string {
	if hinting, ok := errors.AsType[interface {
		error
		Advice() string
	}](err); ok {
		return api.RedactKeys(hinting.Advice())
	}
	return ""
}

// Follow hands each change after first to the sinks, until ctx ends (nil) or the vault refuses for
// good: api.ErrUnauthorized or api.ErrDenied, wrapped. All else may pass: Follow keeps the old set and
// asks again, for ever, at growing random pauses and never earlier than the vault asked for.
//
// With first.Etag empty there is no set yet, and the first one is fetched at once. A set in which any
// secret has a lower version than seen before is refused like a failure. What expires is taken out of the
// set, whether or not the source can be asked then, and the sinks take what is left, once.
func Follow(ctx context.Context, src Source, first api.Snapshot, log zerolog.Logger, sinks ...Sink) error {
	k := &asking{log: log, seen: versions{}, retry: newRetry(), etag: first.Etag, stands: first.Etag != "", news: zerolog.DebugLevel}
	k.raise(first)
	h := &held{set: first, sinks: sinks}
	ask := func(ctx context.Context) (api.Snapshot, error) { return src.Next(ctx, k.etag) }
	for {
		a := during(h, k, func() answer { return k.next(ctx, 0, ask) })
		h.clock.see(src)
		switch a.outcome {
		case interrupted:
			return nil
		case changed:
			h.take(a.set)
		case confirmed:
			if h.less && h.last.After(h.clock.now()) {
				k.etag = "" // it was dropped by a clock that was wrong: get it again
			}
		case refused:
			return fmt.Errorf("follow %s: %w", first.Resource, a.err)
		case failed:
			if !during(h, k, func() bool { return delay.Sleep(ctx, a.wait) == nil }) {
				return nil
			}
		}
	}
}

// asking is what somebody remembers who asks a source over and over.
type asking struct {
	log      zerolog.Logger
	seen     versions
	etag     string        // of the set that was taken last; empty: none
	labels   []api.Label   // of that set; nil: none
	news     zerolog.Level // of the message of another set
	stands   bool          // there is a set, if only a cached one
	failures int           // in a row
	retry    *delay.Backoff
}

// outcome is what came of asking once.
type outcome int

const (
	interrupted outcome = iota // the context ended, so nothing is known
	changed                    // there is another set
	confirmed                  // the set stands
	failed                     // ask again after a pause
	refused                    // api.ErrUnauthorized or api.ErrDenied
)

type answer struct {
	outcome
	set  api.Snapshot  // with changed
	err  error         // with failed and refused
	wait time.Duration // with failed: the pause before asking again
}

// next asks once, for at most limit (zero: as long as it takes), and judges what comes.
func (k *asking) next(ctx context.Context, limit time.Duration, ask func(context.Context) (api.Snapshot, error)) answer {
	asked, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		asked, cancel = context.WithTimeout(ctx, limit)
	}
	next, err := ask(asked)
	late := asked.Err() != nil
	cancel()
	if ctx.Err() != nil && askedFor(err) == 0 { // that the vault wants to be left alone is heard at any time
		next.Wipe()
		return answer{outcome: interrupted}
	}
	if err == nil && next.Etag == k.etag {
		err = errUnchanged
	}
	if err == nil {
		err = k.seen.check(next)
	}
	switch {
	case err == nil:
		k.recovered()
		event := k.log.WithLevel(k.news).Str("etag", next.Etag).Int("bindings", len(next.Bound))
		if k.labels != nil {
			event = event.Any("changes", api.CompareLabels(k.labels, api.Labels(next.Bound)))
		}
		event.Msg("new set of bindings")
		k.raise(next)
		k.etag, k.stands = next.Etag, true
		return answer{outcome: changed, set: next}
	case errors.Is(err, api.ErrNotModified) && k.etag != "":
		k.recovered()
		return answer{outcome: confirmed}
	case errors.Is(err, api.ErrUnauthorized), errors.Is(err, api.ErrDenied):
		k.stands, k.labels = false, nil
		return answer{outcome: refused, err: err}
	case late && errors.Is(err, context.DeadlineExceeded):
		err = errSilent
	}
	next.Wipe()
	k.failures++
	wait := k.retry.NextRandom(askedFor(err))
	event := k.log.Debug()
	if k.failures == 1 {
		event = k.log.Warn()
	}
	event = event.Err(err).Int("attempt", k.failures).Stringer("wait", wait.Round(time.Millisecond))
	if hint := advice(err); hint != "" {
		event = event.Str("hint", hint)
	}
	if k.stands {
		event.Msg("the vault gave no values: keeping the last ones")
	} else {
		event.Msg("the vault gave no values: trying again")
	}
	return answer{outcome: failed, err: err, wait: wait}
}

// recovered ends a run of failures.
func (k *asking) recovered() {
	if k.failures > 0 {
		k.log.Info().Int("attempt", k.failures).Msg("the vault answers again")
		k.retry.Reset()
	}
	k.failures = 0
}

// raise notes what a set that was taken has.
func (k *asking) raise(s api.Snapshot) {
	k.seen.raise(s)
	if s.Etag != "" {
		k.labels = api.Labels(s.Bound)
	}
}

// versions is the highest version seen of each secret, by its id.
type versions map[string]int64

func (v versions) raise(s api.Snapshot) {
	for _, b := range s.Bound {
		v[b.SecretID] = max(v[b.SecretID], b.Version)
	}
}

func (v versions) check(s api.Snapshot) error {
	for _, b := range s.Bound {
		if b.Version < v[b.SecretID] {
			return &backwards{secretID: b.SecretID, got: b.Version, seen: v[b.SecretID]}
		}
	}
	return nil
}

// askedFor is how long the vault wants to be left alone, zero if it didn't say.
func askedFor(err error) time.Duration {
	if refusal, ok := errors.AsType[*api.Error](err); ok {
		return min(max(refusal.RetryAfter, 0), longestAsked)
	}
	return 0
}

// roundUp gives whole seconds, and never less than there are.
func roundUp(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
