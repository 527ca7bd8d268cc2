package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// state is the current set of a resource, without its values.
type state struct {
	labels     []api.Label
	etag       string     // api.Etag of labels
	nextExpiry *time.Time // when the first secret of the set expires; nil: never
}

// mayReveal returns ErrDenied for tenant keys and keys of other resources, and audits the attempt.
func (s *Store) mayReveal(ctx context.Context, a Actor, r api.Resource) error {
	if err := s.Permit(ctx, a, actReveal, r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if a.Resource != r {
		return s.deny(ctx, a, actReveal, r, otherResource)
	}
	return nil
}

// state returns the current state of a resource's set. It decrypts and audits nothing, except an attempt with a key of
// another resource or a tenant key, which is ErrDenied.
// Errors: ErrInvalid; ErrUnauthorized once the key is revoked or has expired.
func (s *Store) state(ctx context.Context, a Actor, r api.Resource) (now state, err error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return now, err
	}
	bound, err := read(ctx, s, a, anyKey, func(t *txn) ([]boundRow, error) { return t.bound(r, false) })
	if err != nil {
		return now, err
	}
	now.labels = make([]api.Label, len(bound))
	for i, b := range bound {
		now.labels[i] = b.Label
		if e := b.ExpiresAt; e != nil && (now.nextExpiry == nil || e.Before(*now.nextExpiry)) {
			now.nextExpiry = e
		}
	}
	now.etag = api.Etag(r, now.labels)
	return now, nil
}

// boundRow is a bound secret before it is opened.
type boundRow struct {
	api.Label
	api.About
	placeholder []byte // of a binding with that delivery
	sealed      []byte // of others; nil in a state
}

// bound reads the set of a resource without expired secrets, sorted by variable name, with or without its values.
func (t *txn) bound(r api.Resource, values bool) ([]boundRow, error) {
	columns := "NULL, NULL"
	if values {
		columns = "CASE WHEN b.delivery = 'placeholder' THEN b.placeholder_token END, CASE WHEN b.delivery <> 'placeholder' THEN s.value END"
	}
	c := conditions{
		terms: []string{"b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND (s.expires_at IS NULL OR s.expires_at > $4)"},
		args:  []any{t.actor.TenantID, r.Type, r.ID, t.now.UnixMicro()},
	}
	t.actor.limitBindings(&c)
	list, err := collect(t, func(b *boundRow) []any {
		return []any{&b.ID, &b.SecretID, &b.ExposeAsEnv, &b.Version, &b.Delivery, stored{&b.ExpiresAt},
			&b.SecretName, stored{&b.UpdatedAt}, &b.placeholder, &b.sealed}
	}, `SELECT b.id, b.secret_id, b.env_name, s.version, b.delivery, s.expires_at, s.name, s.updated_at, `+columns+`
		FROM bindings b JOIN secrets s ON s.id = b.secret_id`+c.String(), c.args...)
	// Not in SQL: databases sort text in different ways, and the etag depends on the order.
	slices.SortFunc(list, func(a, b boundRow) int { return strings.Compare(a.ExposeAsEnv, b.ExposeAsEnv) })
	return list, err
}

// Reveal returns the resource's set, read in one transaction, sorted by variable name, and sealed to to, which is of the
// same resource. With delivery "placeholder" the value is the placeholder. The reveal is audited, with the versions,
// before Reveal returns; that and sealing take about the same time, and run concurrently.
// Errors: as state; ErrNotAudited if the audit event can't be written.
func (s *Store) Reveal(ctx context.Context, a Actor, r api.Resource, to *api.Sealer) (api.RevealAnswer, error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return api.RevealAnswer{}, err
	}
	to.Prepare()
	reader := a
	reader.local = true // auditReveal checks the key
	set, err := read(ctx, s, reader, anyKey, func(t *txn) ([]api.Bound, error) {
		set, err := t.opened(r)
		if err != nil {
			err = cmp.Or(t.checkKey(a), err) // for a revoked key, whatever the state of the set
		}
		return set, err
	})
	if err != nil {
		return api.RevealAnswer{}, err
	}
	defer api.Snapshot{Bound: set}.Wipe()
	audited := make(chan error, 1)
	go func() { audited <- s.auditReveal(ctx, a, r, set) }()
	answer, err := to.Seal(set)
	if err = cmp.Or(<-audited, err); err != nil {
		return api.RevealAnswer{}, err
	}
	return answer, nil
}

// auditReveal records a reveal.
func (s *Store) auditReveal(ctx context.Context, a Actor, r api.Resource, set []api.Bound) error {
	event := api.Event{Action: actReveal, ResourceType: r.Type, ResourceID: r.ID, Bindings: make([]api.EventRef, len(set))}
	for i, b := range set {
		event.Bindings[i] = api.EventRef{ID: b.ID, SecretID: b.SecretID, Version: b.Version}
	}
	// The key is checked once more under the write lock: after the answer to a revocation nothing is revealed with it.
	err := s.write(ctx, a, anyKey, func(t *txn) error { return t.auditRepeat(event) })
	if err != nil && !errors.Is(err, api.ErrUnauthorized) {
		return fmt.Errorf("%w: %w", ErrNotAudited, err)
	}
	return err
}

// ErrNotAudited is the error of a reveal that can't be recorded.
var ErrNotAudited = api.NewError(api.ErrUnavailable, "the reveal can't be audited now, so it is refused")

// opened reads the set of a resource, and opens it completely or not at all.
func (t *txn) opened(r api.Resource) ([]api.Bound, error) {
	keys, err := t.keys()
	if err != nil {
		return nil, err
	}
	list, err := t.bound(r, true)
	if err != nil {
		return nil, err
	}
	set := make([]api.Bound, 0, len(list))
	for _, l := range list {
		plain := l.placeholder
		if l.Delivery != api.DeliverPlaceholder {
			if plain, err = keys.Open(l.sealed, l.SecretID, l.Version, fieldValue); err != nil {
				api.Snapshot{Bound: set}.Wipe()
				return nil, err
			}
		}
		set = append(set, api.Bound{Label: l.Label, About: l.About, Value: api.NewValue(plain)})
	}
	return set, nil
}
