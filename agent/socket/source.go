package socket

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// Source is an agent.Source of the sets that the agent on this machine serves.
type Source struct {
	client   *Client
	resource api.Resource
	vault    string // empty: any
	failed   bool   // the last Next returned an error

	last atomic.Pointer[head] // of the last reply
}

// Source returns a source of r. With a vault, given by its base URL in normal form, it returns sets of that vault only.
func (c *Client) Source(r api.Resource, vault string) *Source {
	s := &Source{client: c, resource: r, vault: vault}
	s.last.Store(&head{})
	return s
}

// Next returns the set as agent.Source describes. With etag "" it waits up to a second for an agent that is starting.
// Errors: ErrNoAgent, ErrUntrusted; ErrOtherResource; *OtherVault; api.ErrDenied if this user may not ask;
// api.ErrUnauthorized if the vault refuses the agent; api.ErrUnavailable if the agent has no set yet.
func (s *Source) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	set, err := s.next(ctx, etag)
	s.failed = err != nil && !errors.Is(err, api.ErrNotModified)
	return set, err
}

func (s *Source) next(ctx context.Context, etag string) (api.Snapshot, error) {
	wait := changeWait
	if etag == "" {
		wait = firstWait
	} else if s.failed {
		wait = 0
	}
	q := request{Op: opReveal, Resource: s.resource, Vault: s.vault, Etag: etag, WaitSeconds: int(wait / time.Second)}
	r, err := s.client.do(ctx, q, wait+replyTimeout)
	if s.vault != "" && errors.Is(err, api.ErrMalformed) { // the agent is of a version that doesn't know the field
		err = &OtherVault{Socket: s.client.path, Named: s.vault}
	}
	if err != nil {
		return api.Snapshot{}, err
	}
	if r.line != nil || r.same && etag == "" || !r.same && r.set.Resource != s.resource {
		r.set.Wipe()
		return api.Snapshot{}, errGarbled
	}
	s.last.Store(&r.head)
	if r.same || r.set.Etag == etag {
		r.set.Wipe()
		return api.Snapshot{}, api.ErrNotModified
	}
	return r.set, nil
}

// Ask is Next with etag "".
func (s *Source) Ask(ctx context.Context) (api.Snapshot, error) { return s.Next(ctx, "") }

// Bindings lists the bindings of the resource, without values and placeholder tokens: as the vault lists them or, while it
// is unavailable, as the agent has them.
// Errors: those of Next; api.ErrMalformed if the agent is of a version that can't list them.
func (s *Source) Bindings(ctx context.Context) ([]api.Binding, error) {
	r, err := s.client.do(ctx, request{Op: opBindings, Resource: s.resource, Vault: s.vault}, replyTimeout)
	if err == nil && r.body.Bindings == nil {
		err = errGarbled
	}
	return r.body.Bindings, err
}

// Vault returns the vault that Client.Source was given.
func (s *Source) Vault() string { return s.vault }

// Placeholders reports whether the last set holds placeholders only.
func (s *Source) Placeholders() bool { return s.last.Load().placeholders }

// Age returns the time from the vault's confirmation of the set to the last reply, and whether the agent couldn't reach
// the vault then.
func (s *Source) Age() (age time.Duration, stale bool) {
	h := s.last.Load()
	return h.age, h.state == agent.Stale
}

// ClockSkew isn't known: the agent's clock is that of this machine.
func (s *Source) ClockSkew() (time.Duration, bool) { return 0, false }

// Drop does nothing: each request has its own connection.
func (s *Source) Drop() {}
