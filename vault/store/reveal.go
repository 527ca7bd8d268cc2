package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// State is the current set of a resource, without its values.
type State struct {
	Labels     []api.Label
	Etag       string     // api.Etag of Labels
	NextExpiry *time.Time // when the first secret of the set expires; nil: never
}

// mayReveal returns ErrDenied for tenant keys and keys of other resources, and audits the attempt.
func (s *Store) mayReveal(ctx context.Context, a Actor, r api.Resource) error {
	if err := r.Validate(); err != nil {
		return err
	}
	switch {
	case a.isTenant():
		return s.deny(ctx, a, actReveal, r, "a tenant key reads no values: reveal takes a resource key")
	case a.Resource != r:
		return s.deny(ctx, a, actReveal, r, otherResource)
	}
	return nil
}

// State returns the current state of a resource's set. It decrypts and audits nothing, except an attempt with a key of
// another resource or a tenant key, which is ErrDenied.
// Errors: ErrInvalid; ErrUnauthorized once the key is revoked or has expired.
func (s *Store) State(ctx context.Context, a Actor, r api.Resource) (state State, err error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return state, err
	}
	bound, err := read(ctx, s, a, anyKey, func(t *txn) ([]boundRow, error) { return t.bound(r, "''") })
	if err != nil {
		return state, err
	}
	state.Labels = make([]api.Label, len(bound))
	for i, b := range bound {
		state.Labels[i] = b.Label
		if e := b.ExpiresAt; e != nil && (state.NextExpiry == nil || e.Before(*state.NextExpiry)) {
			state.NextExpiry = e
		}
	}
	state.Etag = api.Etag(r, state.Labels)
	return state, nil
}

// boundRow is a bound secret before it is opened.
type boundRow struct {
	api.Label
	api.About
	placeholder string
	sealed      []byte
}

// bound reads the set of a resource without expired secrets, sorted by variable name. sealed is the SQL expression of
// the value.
func (t *txn) bound(r api.Resource, sealed string) ([]boundRow, error) {
	list, err := collect(t, func(b *boundRow) []any {
		return []any{&b.ID, &b.SecretID, &b.ExposeAsEnv, &b.Version, &b.Delivery, optionalInstant{&b.ExpiresAt},
			&b.SecretName, instant{&b.UpdatedAt}, &b.placeholder, &b.sealed}
	}, `SELECT b.id, b.secret_id, b.env_name, s.version, b.delivery, s.expires_at, s.name, s.updated_at, b.placeholder_token, `+sealed+`
		FROM bindings b JOIN secrets s ON s.id = b.secret_id
		WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND (s.expires_at IS NULL OR s.expires_at > $4)`,
		t.actor.TenantID, r.Type, r.ID, t.now.UnixMicro())
	// Not in SQL: databases sort text in different ways, and the etag depends on the order.
	slices.SortFunc(list, func(a, b boundRow) int { return strings.Compare(a.ExposeAsEnv, b.ExposeAsEnv) })
	return list, err
}

// Reveal returns the resource's set in plaintext, read in one transaction and sorted by variable name. It is audited,
// with the versions, before Reveal returns. With delivery "placeholder" the value is the placeholder. The caller
// wipes the values. Errors: as State; ErrNotAudited if the audit event can't be written.
func (s *Store) Reveal(ctx context.Context, a Actor, r api.Resource) (set []api.Bound, err error) {
	err = s.reveal(ctx, a, r, func(opened []api.Bound) error {
		set = make([]api.Bound, len(opened))
		for i, b := range opened {
			set[i] = api.Bound{Label: b.Label, About: b.About, Value: api.NewValue([]byte(b.Value.Reveal()))}
		}
		return nil
	})
	if err != nil {
		api.Snapshot{Bound: set}.Wipe()
		return nil, err
	}
	return set, nil
}

// RevealSealed is Reveal with the set sealed. to must be of the same resource.
func (s *Store) RevealSealed(ctx context.Context, a Actor, r api.Resource, to *api.Sealer) (answer api.RevealAnswer, err error) {
	err = s.reveal(ctx, a, r, func(opened []api.Bound) (err error) {
		answer, err = to.Seal(opened)
		return err
	})
	if err != nil {
		return api.RevealAnswer{}, err
	}
	return answer, nil
}

// reveal reads and opens a set, and calls use while the audit event is written: both take about the same time,
// and neither needs the other. The caller returns the result of use only if reveal returns nil. The values
// are wiped after use.
func (s *Store) reveal(ctx context.Context, a Actor, r api.Resource, use func([]api.Bound) error) error {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return err
	}
	var keys *keyring.Keys
	list, err := read(ctx, s, a, anyKey, func(t *txn) (list []boundRow, err error) {
		if keys, err = t.keys(); err != nil {
			return nil, err
		}
		// The value of a placeholder isn't even read.
		return t.bound(r, "CASE WHEN b.delivery = 'placeholder' THEN NULL ELSE s.value END")
	})
	if err != nil {
		return err
	}
	set, err := openAll(keys, list)
	if err != nil {
		return err
	}
	defer api.Snapshot{Bound: set}.Wipe()
	audited := make(chan error, 1)
	go func() { audited <- s.auditReveal(ctx, a, r, list) }()
	err = use(set)
	if refused := <-audited; refused != nil {
		return refused
	}
	return err
}

// auditReveal records a reveal.
func (s *Store) auditReveal(ctx context.Context, a Actor, r api.Resource, list []boundRow) error {
	event := api.Event{Action: actReveal, ResourceType: r.Type, ResourceID: r.ID, Bindings: make([]api.EventRef, len(list))}
	for i, l := range list {
		event.Bindings[i] = api.EventRef{ID: l.ID, SecretID: l.SecretID, Version: l.Version}
	}
	// The key is checked once more under the write lock: after the answer to a revocation nothing is revealed with it.
	err := s.write(ctx, a, anyKey, func(t *txn) error { return t.audit(event) })
	if err != nil && !errors.Is(err, api.ErrUnauthorized) {
		return fmt.Errorf("%w: %w", ErrNotAudited, err)
	}
	return err
}

// ErrNotAudited is the error of a reveal that can't be recorded.
var ErrNotAudited = api.NewError(api.ErrUnavailable, "the reveal can't be audited now, so it is refused")

// openAll opens a set completely or not at all.
func openAll(k *keyring.Keys, list []boundRow) ([]api.Bound, error) {
	set := make([]api.Bound, 0, len(list))
	for _, l := range list {
		plain := []byte(l.placeholder)
		if l.Delivery != api.DeliverPlaceholder {
			var err error
			if plain, err = k.Open(l.sealed, l.SecretID, l.Version, fieldValue); err != nil {
				api.Snapshot{Bound: set}.Wipe()
				return nil, err
			}
		}
		set = append(set, api.Bound{Label: l.Label, About: l.About, Value: api.NewValue(plain)})
	}
	return set, nil
}
