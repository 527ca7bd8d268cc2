package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/pace"
	"github.com/rs/zerolog"
)

var (
	errUnchanged = errors.New("the vault gave the same set again")
	errSilent    = errors.New("the vault didn't answer in time")
)

// asking is the state that the engine keeps between requests.
type asking struct {
	seen     versions
	etag     string      // of the set that was taken last; empty: none
	labels   []api.Label // of that set; nil: none
	stands   bool        // there is a set, perhaps a cached one
	failures int         // in a row
	retry    *delay.Backoff
}

// outcome is the outcome of a request.
type outcome int

const (
	interrupted outcome = iota // the context ended first
	changed                    // there is another set
	confirmed                  // there is no other set
	noSet                      // a failure: ask again after a pause
	refused                    // the source refuses the key
)

// answer is a request's outcome.
type answer struct {
	outcome
	set  api.Snapshot  // with changed
	err  error         // with noSet and refused
	wait time.Duration // with noSet: the pause before the next request
}

// judge returns what a set or an error of a source means. ctx is that of the request, without its timeout. A set in which a
// secret has a lower version than before counts as a failure.
func (e *Engine) judge(ctx context.Context, next api.Snapshot, err error) answer {
	k := &e.asking
	if ctx.Err() != nil && askedFor(err) == 0 { // a pause that the vault asks for counts in any case
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
		e.recovered()
		event := e.conf.Log.WithLevel(e.conf.Changes).Str("etag", next.Etag).Int("bindings", len(next.Bound))
		if k.labels != nil {
			event = event.Any("changes", api.CompareLabels(k.labels, api.Labels(next.Bound)))
		}
		event.Msg("set changed")
		k.take(next)
		return answer{outcome: changed, set: next}
	case errors.Is(err, api.ErrNotModified) && k.etag != "":
		e.recovered()
		return answer{outcome: confirmed}
	case api.RefusesKey(err):
		k.etag, k.stands, k.labels = "", false, nil
		return answer{outcome: refused, err: err}
	}
	next.Wipe()
	k.failures++
	wait := k.retry.NextRandom(askedFor(err))
	event := e.conf.Log.Debug()
	if k.failures == 1 {
		event = e.conf.Log.Warn()
	}
	event = withHint(event, err).Int("attempt", k.failures).Stringer("wait", wait.Round(time.Millisecond))
	if k.stands {
		event.Msg("vault unavailable: keeping the last set")
	} else {
		event.Msg("vault unavailable: retrying")
	}
	return answer{outcome: noSet, err: err, wait: wait}
}

// recovered ends a run of failures.
func (e *Engine) recovered() {
	k := &e.asking
	if k.failures > 0 {
		e.conf.Log.Info().Int("attempt", k.failures).Msg("vault available again")
		k.retry.Reset()
	}
	k.failures = 0
}

// take notes a set that is served.
func (k *asking) take(s api.Snapshot) {
	k.etag = s.Etag
	k.raise(s)
}

// raise notes the versions of a set.
func (k *asking) raise(s api.Snapshot) {
	k.seen.raise(s)
	k.labels, k.stands = api.Labels(s.Bound), true
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

// backwards is the error of a set with a lower version of a secret than before: the vault was restored from a backup, or
// something replayed an old response.
type backwards struct {
	secretID  string
	got, seen int64
}

func (b *backwards) Error() string {
	return fmt.Sprintf("the vault gave a lower version of a secret than before: %d of %s, after %d", b.got, b.secretID, b.seen)
}

func (b *backwards) Hint() string {
	return "if the vault was restored from an older backup and its values are the ones to have: stop miosa-env, delete its cache, start it; " +
		"if it wasn't, something on the way brings up old answers"
}

// hintOf returns what an error says to do about it, or "".
func hintOf(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return api.RedactKeys(e.Hint())
	}
	return ""
}

// withHint adds an error and its hint to a log event.
func withHint(event *zerolog.Event, err error) *zerolog.Event {
	event = event.Err(err)
	if hint := hintOf(err); hint != "" {
		event = event.Str("hint", hint)
	}
	return event
}

// askedFor returns how long the vault has asked for no requests, or zero.
func askedFor(err error) time.Duration {
	return pace.Asked(api.RetryAfter(err))
}
