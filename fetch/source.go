package fetch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	revealWait = 50 * time.Second // below the 60 s after which many proxies cut a silent connection
	pollEvery  = 30 * time.Second
)

// Source gives the snapshots of one resource, one after the other. Next is for one goroutine;
// Placeholders and Bindings for any.
type Source struct {
	client   *Client
	resource api.Resource
	fallen   atomic.Bool // the vault gives us no values: bindings are listed instead
	scope    atomic.Bool // it has fallen because of the key's scope

	revealed bool           // a reveal has worked, so a 404 is no reason to fall back
	troubled bool           // the last Next ended with an error
	early    *delay.Backoff // gives pauses after answers that came too early
	pause    time.Duration  // before the next wait, because of such answers
	due      time.Time      // when the next poll is, after falling back
}

// Source returns the snapshots of r.
func (c *Client) Source(r api.Resource) *Source {
	return &Source{client: c, resource: r, early: delay.NewBackoff(250*time.Millisecond, pollEvery)}
}

// Placeholders reports whether the vault gives no values, so that bindings are listed instead: each has a
// placeholder, or is delivered by the platform.
func (s *Source) Placeholders() bool { return s.fallen.Load() }

// OutOfScope reports whether that is so because the key is a machine's own (403 MACHINE_KEY_SCOPE), and not
// because the vault has no agent API.
func (s *Source) OutOfScope() bool { return s.scope.Load() }

// Drop closes the connections that no call is using, such as those that a sleeping machine's peers
// have forgotten. It is safe beside Next, whose own connection ends with its context.
func (s *Source) Drop() { s.client.Close() }

// Vault is Client.Vault.
func (s *Source) Vault() string { return s.client.Vault() }

// Bindings lists what is bound to the resource, with one request. It is for any goroutine.
func (s *Source) Bindings(ctx context.Context) ([]api.Binding, error) {
	return s.client.bindings(ctx, BindingFilter{Resource: s.resource}, true)
}

// ClockSkew is Client.ClockSkew.
func (s *Source) ClockSkew() (time.Duration, bool) { return s.client.ClockSkew() }

// Next returns the set, sorted by env name: at once where etag is "", else as soon as it differs from
// the one that etag names. The first is retried within the client's timeout; later calls make one
// request at a time, and leave retrying to the caller.
//
// Next returns api.ErrNotModified each time the vault says that the set still stands: when a wait
// passed without a change, and at once after a call that ended with an error. Each time it is called
// again to go on waiting.
//
// A vault that doesn't know the first reveal (404, 405, 501), or refuses it because the key is a
// machine's own (403 MACHINE_KEY_SCOPE), has no agent API for us: from then on Next lists the bindings
// every 30 s and gives their placeholders. A binding without one is delivered as api.DeliverPlatform.
func (s *Source) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	next, err := s.next(ctx, etag, etag != "")
	s.troubled = err != nil && !errors.Is(err, api.ErrNotModified)
	return next, err
}

// Ask returns the set at once, with one request: retrying is the caller's. It is for the goroutine that
// calls Next.
func (s *Source) Ask(ctx context.Context) (api.Snapshot, error) {
	next, err := s.next(ctx, "", true)
	s.troubled = err != nil
	return next, err
}

// next is Next; with once it makes one request.
func (s *Source) next(ctx context.Context, etag string, once bool) (api.Snapshot, error) {
	if s.fallen.Load() {
		return s.poll(ctx, etag, once)
	}
	wait := revealWait
	if s.troubled || etag == "" {
		wait = 0
	} else if err := delay.Sleep(ctx, s.pause); err != nil {
		return api.Snapshot{}, err
	}
	began := time.Now()
	next, err := s.client.reveal(ctx, s.resource, etag, wait, once)
	switch {
	case err == nil && next.Etag != etag:
		s.revealed, s.pause = true, 0
		s.early.Reset()
		return next, nil
	case err == nil || errors.Is(err, api.ErrNotModified):
		next.Wipe()
		s.revealed = true
		// A vault that is stopping answers early, and so does one that never holds a request: ask again
		// soon, then ever later.
		if wait > 0 && time.Since(began) < wait/2 {
			s.pause = delay.Jitter(s.early.Next())
		} else if wait > 0 {
			s.pause = 0
			s.early.Reset()
		}
		return api.Snapshot{}, api.ErrNotModified
	case !s.revealed && withoutReveal(err):
		return s.fall(ctx, etag, once, err)
	}
	return api.Snapshot{}, err
}

// fall goes on without values, which why denies, as soon as the bindings can be listed.
func (s *Source) fall(ctx context.Context, etag string, once bool, why error) (api.Snapshot, error) {
	next, err := s.poll(ctx, etag, once)
	scope := api.OutOfScope(why)
	if p, ok := errors.AsType[*Problem](err); ok && scope && (unknownCall(p) || errors.Is(p, api.ErrDenied)) {
		said := *p
		said.Hint = scopeHint
		return api.Snapshot{}, &said
	}
	if err != nil && !errors.Is(err, api.ErrNotModified) {
		return next, err
	}
	s.scope.Store(scope)
	s.fallen.Store(true)
	warn := s.client.log.Warn().Stringer("poll_every", pollEvery)
	if scope {
		warn.Msg("the key may list bindings but not reveal their values (MACHINE_KEY_SCOPE): changes are polled for")
	} else {
		warn.Msg("the vault has no agent API: it lists bindings without their values, and changes are polled for")
	}
	return next, err
}

// withoutReveal reports whether a reveal ended in a way that says the vault has none for this key.
func withoutReveal(err error) bool {
	return unknownCall(err) || api.OutOfScope(err)
}

// poll lists the bindings, each time it is due, and gives their placeholders where they differ from etag.
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

// placeholders makes the set of r out of its bindings. Its etag covers the tokens too.
func placeholders(r api.Resource, bindings []api.Binding) (api.Snapshot, error) {
	s := api.Snapshot{Resource: r, Bound: make([]api.Bound, 0, len(bindings))}
	for _, b := range bindings {
		if b.Resource.ID == "" { // it may be any resource's
			return api.Snapshot{}, unusable("a binding has no resource_id")
		}
		token, delivery := b.Placeholder(), api.DeliverPlaceholder
		if token == "" {
			delivery = api.DeliverPlatform
		}
		s.Bound = append(s.Bound, api.Bound{
			Label: api.Label{ID: b.ID, SecretID: b.SecretID, ExposeAsEnv: b.ExposeAsEnv,
				Version:  max(b.Version, 1), // not told by every vault
				Delivery: delivery},
			About: api.About{SecretName: b.SecretName, UpdatedAt: b.UpdatedAt},
			Value: api.NewValue([]byte(token)),
		})
	}
	sortByName(s.Bound)
	labels := make([]api.Label, 0, 2*len(s.Bound))
	for _, b := range s.Bound {
		labels = append(labels, b.Label, api.Label{ID: b.Value.Reveal()})
	}
	s.Etag = api.Etag(r, labels)
	return s, check(s)
}
