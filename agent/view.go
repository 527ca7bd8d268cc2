package agent

import (
	"context"
	"slices"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// view is what the agent serves at one moment. It is never changed, and neither is what it holds.
type view struct {
	set     api.Snapshot
	expires time.Time // when the first of its values does; zero: none
	dropped time.Time // when the last of those that have expired did; zero: none has
	status  Status
	asleep  time.Duration // when the vault last confirmed the set
	refusal error         // why, in state Refused
	changed chan struct{} // closed once another view has taken its place
}

// Snapshot returns the set that is served, and the status that belongs to it. The set is shared and
// must not be wiped. It is empty in the states Starting and Refused.
func (a *Agent) Snapshot() (api.Snapshot, Status) {
	v := a.look()
	return v.set, a.counted(v.tell())
}

// Status tells how the daemon is doing.
func (a *Agent) Status() Status { return a.counted(a.look().tell()) }

// Changed is closed at the next change of the set or the status.
func (a *Agent) Changed() <-chan struct{} { return a.now.Load().changed }

// Wait returns the set: at once where it differs from the one that etag names, else when it does. It
// waits for the first set.
// Errors: api.ErrUnauthorized or api.ErrDenied, wrapped, while the vault refuses; the context's.
func (a *Agent) Wait(ctx context.Context, etag string) (api.Snapshot, error) {
	for {
		v := a.look()
		switch {
		case v.status.State == Refused:
			return api.Snapshot{}, v.refusal
		case v.serves() && v.set.Etag != etag:
			return v.set, nil
		}
		select {
		case <-ctx.Done():
			return api.Snapshot{}, ctx.Err()
		case <-a.ended:
			return api.Snapshot{}, errEnded
		case <-v.changed:
		}
	}
}

// listTime is how long the vault has to list the bindings: less than clients wait that can ask it themselves.
const listTime = time.Second

// Bindings lists what is bound to the resource, without values and placeholder tokens: as the vault does, or
// while that can't be asked, as the set has it that is served.
// Errors: api.ErrUnauthorized or api.ErrDenied, wrapped, while the vault refuses; api.ErrUnavailable without a set.
func (a *Agent) Bindings(ctx context.Context) ([]api.Binding, error) {
	first, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	set, err := a.Wait(first, "")
	switch {
	case err != nil && first.Err() != nil && ctx.Err() == nil:
		return nil, errStarting
	case err != nil:
		return nil, err
	}
	a.mu.Lock()
	src, same := a.source, vaultOf(a.source) == a.now.Load().status.Vault
	a.mu.Unlock()
	if s, ok := src.(interface {
		Bindings(ctx context.Context) ([]api.Binding, error)
	}); ok && same {
		soon, cancel := context.WithTimeout(ctx, listTime)
		defer cancel()
		all, err := s.Bindings(soon)
		if err == nil {
			return a.own(all), nil
		}
		a.conf.Log.Debug().Err(err).Msg("the vault doesn't list the bindings: listing those of the set")
	}
	return set.Bindings(), ctx.Err()
}

// own keeps the bindings of the agent's resource, without their placeholder tokens. A vault that doesn't know the filter lists
// those of others too.
func (a *Agent) own(all []api.Binding) []api.Binding {
	list := []api.Binding{}
	for _, b := range all {
		if b.Resource.ID == a.conf.Resource.ID && (b.Resource.Type == "" || b.Resource.Type == a.conf.Resource.Type) {
			b.Delivery, b.PlaceholderToken = b.DeliveredAs(), ""
			list = append(list, b)
		}
	}
	return list
}

// serves tells whether there is a set.
func (v *view) serves() bool { return v.status.State == Fresh || v.status.State == Stale }

// tell returns the status as it stands now.
func (v *view) tell() Status {
	s := v.status
	s.Outputs = slices.Clone(s.Outputs)
	if !s.ConfirmedAt.IsZero() {
		age := time.Since(s.ConfirmedAt) // by a clock that stands still in suspend
		if slept := asleep() - v.asleep; slept >= sleepNoticed {
			age += slept
		}
		s.Age = max(age, 0).Seconds()
	}
	return s
}

// publish changes what is served.
func (a *Agent) publish(change func(*view)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change(change)
}

// change is publish for who holds mu.
func (a *Agent) change(change func(*view)) {
	old := a.now.Load()
	v := *old
	v.changed = make(chan struct{})
	change(&v)
	if v.status.State != old.status.State {
		v.status.Since = time.Now().UTC()
		a.conf.Log.Info().Str("from", string(old.status.State)).Str("state", string(v.status.State)).Msg("state changed")
	}
	v.status.Etag, v.status.Bindings, v.expires = v.set.Etag, len(v.set.Bound), expiry(v.set)
	a.now.Store(&v)
	close(old.changed)
	if v.set.Etag != old.set.Etag || v.status.State != old.status.State || v.status.Origin != old.status.Origin {
		for _, o := range a.outlets {
			o.nudge()
		}
	}
}
