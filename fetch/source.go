package fetch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/pace"
)

const pollEvery = 30 * time.Second

// Source returns the snapshots of one resource. One goroutine may call Next and Ask; any may call the other methods.
type Source struct {
	client   *Client
	resource api.Resource
	fallen   atomic.Bool // the vault returns no values: list bindings instead
	scope    atomic.Bool // the reason is the key's scope

	revealed bool      // a reveal has succeeded, so a 404 is no reason to list bindings
	pace     pace.Wait // of the reveals
	due      time.Time // of the next list of bindings
}

// Source returns the snapshots of r.
func (c *Client) Source(r api.Resource) *Source {
	return &Source{client: c, resource: r}
}

// Placeholders reports whether the vault returns no values, so that Next lists bindings: each has a placeholder, or the
// platform delivers it.
func (s *Source) Placeholders() bool { return s.fallen.Load() }

// OutOfScope reports whether the reason for Placeholders is that the key is a machine's own (403 MACHINE_KEY_SCOPE), and
// not that the vault has no agent API.
func (s *Source) OutOfScope() bool { return s.scope.Load() }

// Drop closes idle connections, such as those that a suspended machine's peers have closed.
func (s *Source) Drop() { s.client.Close() }

// Vault returns Client.Vault.
func (s *Source) Vault() string { return s.client.Vault() }

// Bindings lists what is bound to the resource, without retries.
func (s *Source) Bindings(ctx context.Context) ([]api.Binding, error) {
	return s.client.bindings(ctx, BindingFilter{Resource: s.resource}, true)
}

// ClockSkew returns Client.ClockSkew.
func (s *Source) ClockSkew() (time.Duration, bool) { return s.client.ClockSkew() }

// Next returns the set, sorted by env name: at once if etag is "", otherwise as soon as it differs from the one with that
// etag. Without an etag it retries within the client's timeout; with one it sends a single request.
//
// Next returns api.ErrNotModified if the set hasn't changed during a wait, and at once after a call that returned an error.
// Call it again to continue waiting.
//
// If the vault doesn't have the first reveal (404, 405, 501), or refuses it because the key is a machine's own (403
// MACHINE_KEY_SCOPE), Next lists the bindings every 30 s from then on and returns their placeholders. A binding without
// one has the delivery api.DeliverPlatform.
func (s *Source) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	return s.next(ctx, etag, etag != "")
}

// Ask returns the set at once, without retries.
func (s *Source) Ask(ctx context.Context) (api.Snapshot, error) {
	return s.next(ctx, "", true)
}

// next is Next; with once it sends a single request.
func (s *Source) next(ctx context.Context, etag string, once bool) (_ api.Snapshot, err error) {
	if s.fallen.Load() {
		return s.poll(ctx, etag, once)
	}
	defer func() {
		if err != nil && !errors.Is(err, api.ErrNotModified) {
			s.pace.Failed()
		}
	}()
	pause, wait := s.pace.Next(etag == "")
	if wait > 0 {
		if err := delay.Sleep(ctx, pause); err != nil {
			return api.Snapshot{}, err
		}
	}
	began := time.Now()
	next, err := s.client.reveal(ctx, s.resource, etag, wait, once)
	switch {
	case err == nil && next.Etag != etag:
		s.revealed = true
		s.pace.Changed()
		return next, nil
	case err == nil || errors.Is(err, api.ErrNotModified):
		next.Wipe()
		s.revealed = true
		s.pace.Unchanged(time.Since(began))
		return api.Snapshot{}, api.ErrNotModified
	case !s.revealed && (unknownCall(err) || api.OutOfScope(err)):
		return s.fall(ctx, etag, once, err)
	}
	return api.Snapshot{}, err
}

// fall lists bindings from now on if that works. why is the error of the reveal.
func (s *Source) fall(ctx context.Context, etag string, once bool, why error) (api.Snapshot, error) {
	next, err := s.poll(ctx, etag, once)
	scope := api.OutOfScope(why)
	if scope && (unknownCall(err) || errors.Is(err, api.ErrDenied)) {
		return api.Snapshot{}, reworded(err, "", scopeHint)
	}
	if err != nil && !errors.Is(err, api.ErrNotModified) {
		return next, err
	}
	s.scope.Store(scope)
	s.fallen.Store(true)
	warn := s.client.log.Warn().Stringer("poll_every", pollEvery)
	if scope {
		warn.Msg("key may list bindings but not reveal values (MACHINE_KEY_SCOPE): polling for changes")
	} else {
		warn.Msg("vault has no agent API: listing bindings without values, polling for changes")
	}
	return next, err
}

// poll lists the bindings when it is due, and returns their placeholders if they differ from etag.
func (s *Source) poll(ctx context.Context, etag string, once bool) (api.Snapshot, error) {
	if etag != "" {
		if err := delay.Sleep(ctx, time.Until(s.due)); err != nil {
			return api.Snapshot{}, err
		}
	}
	bindings, err := s.client.bindings(ctx, BindingFilter{Resource: s.resource}, once)
	if err != nil {
		return api.Snapshot{}, err
	}
	s.due = time.Now().Add(delay.Jitter(pollEvery))
	next, err := placeholders(s.resource, bindings)
	switch {
	case err != nil:
		return api.Snapshot{}, err
	case next.Etag == etag:
		return api.Snapshot{}, api.ErrNotModified
	}
	return next, nil
}

// placeholders returns the set of r, made from its bindings. The etag depends on the tokens too.
func placeholders(r api.Resource, bindings []api.Binding) (api.Snapshot, error) {
	s := api.Snapshot{Resource: r, Bound: make([]api.Bound, 0, len(bindings))}
	for _, b := range bindings {
		if b.Resource.ID == "" { // it may belong to another resource
			return api.Snapshot{}, unusable("a binding has no resource_id")
		}
		token, delivery := b.Placeholder(), api.DeliverPlaceholder
		if token == "" {
			delivery = api.DeliverPlatform
		}
		s.Bound = append(s.Bound, api.Bound{
			Label: api.Label{ID: b.ID, SecretID: b.SecretID, ExposeAsEnv: b.ExposeAsEnv,
				Version:  max(b.Version, 1), // some vaults don't return it
				Delivery: delivery},
			About: api.About{SecretName: b.SecretName, UpdatedAt: b.UpdatedAt},
			Value: api.NewValue([]byte(token)),
		})
	}
	sortByName(s.Bound)
	s.Etag = api.Etag(r, api.Labels(s.Bound))
	return s, check(s)
}
