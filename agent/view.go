package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// view is what the engine serves at one time. It is immutable.
type view struct {
	set     api.Snapshot
	keep    bool          // the set belongs in the cache
	expires time.Time     // when the first of its values expires; zero: none does
	dropped time.Time     // when the last of the values that were dropped expired; zero: none was
	status  Status        // without outputs
	asleep  time.Duration // when the source last confirmed the set
	refusal error         // the source's error, in state Refused
	refused uint64        // the number of the latest set in memory then
	changed chan struct{} // closed when another view replaces this one
}

// served returns the current view, without what has expired.
func (e *Engine) served() *view {
	if v := e.now.Load(); !v.expired(e.clock.now()) {
		return v
	}
	return e.dropExpired()
}

// Snapshot returns the set that is served, and the status that belongs to it. The set is shared and must not be wiped.
// It is empty in the states Starting and Refused.
func (e *Engine) Snapshot() (api.Snapshot, Status) {
	v := e.served()
	return v.set, e.withOutputs(v.report())
}

// Status returns the current status.
func (e *Engine) Status() Status { return e.withOutputs(e.served().report()) }

// Changed returns a channel that is closed at the next change of the set or the status.
func (e *Engine) Changed() <-chan struct{} { return e.now.Load().changed }

// Wait returns the set as soon as there is one that differs from the one that etag names. The set is shared and must not
// be wiped.
// Errors: api.ErrUnauthorized or api.ErrDenied, wrapped, while the source refuses; the context's; one if Run has ended.
func (e *Engine) Wait(ctx context.Context, etag string) (api.Snapshot, error) {
	for {
		v := e.served()
		switch {
		case v.status.State == Refused:
			return api.Snapshot{}, v.refusal
		case v.serves() && v.set.Etag != etag:
			return v.set, nil
		}
		select {
		case <-ctx.Done():
			return api.Snapshot{}, ctx.Err()
		case <-e.ended:
			return api.Snapshot{}, errEnded
		case <-v.changed:
		}
	}
}

// Follow calls take with each new set, until ctx or Run ends (it returns nil) or the source refuses (api.ErrUnauthorized or
// api.ErrDenied, wrapped). etag names the set that the caller has.
func (e *Engine) Follow(ctx context.Context, etag string, take func(api.Snapshot)) error {
	for {
		set, err := e.Wait(ctx, etag)
		if ctx.Err() != nil || errors.Is(err, errEnded) {
			return nil //nolint:nilerr // the end was asked for
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", e.conf.Resource, err)
		}
		etag = set.Etag
		take(set)
	}
}

const (
	firstWait = time.Second // for the first set, when bindings are asked for
	listTime  = time.Second // for the source to list them: clients with a key ask the vault themselves after 1.5 s
)

// Bindings lists the bindings of the resource, without values and placeholder tokens: as the source lists them or, if that
// fails, those of the current set.
// Errors: api.ErrUnauthorized or api.ErrDenied, wrapped, while the source refuses; api.ErrUnavailable without a set.
func (e *Engine) Bindings(ctx context.Context) ([]api.Binding, error) {
	first, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	set, err := e.Wait(first, "")
	switch {
	case err != nil && first.Err() != nil && ctx.Err() == nil:
		return nil, ErrNoSet
	case err != nil:
		return nil, err
	}
	e.mu.Lock()
	src := e.source
	e.mu.Unlock()
	if src.Vault() == e.now.Load().status.Vault {
		soon, cancel := context.WithTimeout(ctx, listTime)
		defer cancel()
		all, err := src.Bindings(soon)
		if err == nil {
			return e.own(all), nil
		}
		e.conf.Log.Debug().Err(err).Msg("vault does not list bindings: listing those of the set")
	}
	return set.Bindings(), ctx.Err()
}

// own returns the bindings of the engine's resource, without their placeholder tokens. A vault that doesn't know the filter
// lists those of other resources too.
func (e *Engine) own(all []api.Binding) []api.Binding {
	list := []api.Binding{}
	for _, b := range all {
		if b.Resource.ID == e.conf.Resource.ID && (b.Resource.Type == "" || b.Resource.Type == e.conf.Resource.Type) {
			b.Delivery, b.PlaceholderToken = b.DeliveredAs(), ""
			list = append(list, b)
		}
	}
	return list
}

// serves reports whether there is a set.
func (v *view) serves() bool { return v.status.State == Fresh || v.status.State == Stale }

// report returns the status with the age of the set, without outputs.
func (v *view) report() Status {
	s := v.status
	if !s.ConfirmedAt.IsZero() {
		age := time.Since(s.ConfirmedAt) // by a clock that stops during a suspend
		if slept := asleep() - v.asleep; slept >= sleepNoticed {
			age += slept
		}
		s.Age = max(age, 0).Seconds()
	}
	return s
}

// publish replaces the view by a copy that change has changed.
func (e *Engine) publish(change func(*view)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.change(change)
}

// change is publish. The caller holds mu.
func (e *Engine) change(change func(*view)) {
	old := e.now.Load()
	v := *old
	v.changed = make(chan struct{})
	change(&v)
	if v.status.State != old.status.State {
		v.status.Since = time.Now().UTC()
		e.conf.Log.WithLevel(e.conf.Changes).Str("from", string(old.status.State)).Str("state", string(v.status.State)).Msg("state changed")
	}
	v.status.Etag, v.status.Bindings, v.expires = v.set.Etag, len(v.set.Bound), v.set.Expires()
	e.now.Store(&v)
	defer close(old.changed) // last, so that waiting commands are scheduled before outputs
	if v.set.Etag != old.set.Etag || v.status.State != old.status.State || v.status.Origin != old.status.Origin {
		for _, o := range e.outlets {
			o.nudge()
		}
	}
}
