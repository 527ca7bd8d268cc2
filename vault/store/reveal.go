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
	"github.com/Miosa-osa/miosa-env/vault/cache"
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
	bound, err := read(ctx, s, a, anyKey, func(t *txn) ([]boundRow, error) { return t.bound(r) })
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
	scope       string // of the secret
	placeholder []byte // of a binding with that delivery
	sealed      []byte // of others
}

// bound returns the set of a resource without expired secrets, sorted by variable name. t only reads.
func (t *txn) bound(r api.Resource) ([]boundRow, error) {
	keys, err := t.keys()
	if err != nil {
		return nil, err
	}
	of, version := topic{t.actor.TenantID, r}, cache.Version{Revision: t.revision, Generation: keys.Generation()}
	rows, ok := t.store.sets.Get(of, version)
	if !ok {
		if rows, err = t.readBound(r); err != nil {
			return nil, err
		}
		t.store.sets.Put(of, version, rows, sizeOf(rows))
	}
	list := make([]boundRow, 0, len(rows))
	for _, b := range rows {
		if (b.ExpiresAt == nil || b.ExpiresAt.After(t.now)) && t.actor.maySee(b.scope) {
			list = append(list, b)
		}
	}
	return list, nil
}

// sizeOf is about the number of bytes that a set takes in the cache.
func sizeOf(rows []boundRow) int {
	const labels = 512
	size := labels
	for _, r := range rows {
		size += labels + len(r.sealed)
	}
	return size
}

// readBound reads the set of a resource, with expired secrets, and verifies it.
func (t *txn) readBound(r api.Resource) ([]boundRow, error) {
	type pair struct {
		binding bindingRow
		secret  secretRow
	}
	fields := func(p *pair) []any {
		return append(append(p.binding.stored(), p.secret.stored()...).fields(), &p.secret.value)
	}
	read, err := collect(t, fields, `SELECT `+new(bindingRow).stored().names("b.")+`, `+new(secretRow).stored().names("s.")+`,
		CASE WHEN b.delivery <> 'placeholder' THEN s.value END
		FROM bindings b JOIN secrets s ON s.id = b.secret_id
		WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3`, t.actor.TenantID, r.Type, r.ID)
	if err != nil {
		return nil, err
	}
	rows := make([]boundRow, len(read))
	for i := range read {
		b, s := &read[i].binding, &read[i].secret
		if err := cmp.Or(t.verify(b), t.verify(s)); err != nil {
			return nil, err
		}
		rows[i] = boundRow{
			Label: api.Label{ID: b.ID, SecretID: s.ID, ExposeAsEnv: b.ExposeAsEnv, Version: s.Version, Delivery: b.Delivery, ExpiresAt: s.ExpiresAt},
			About: api.About{SecretName: s.Name, UpdatedAt: s.UpdatedAt}, scope: s.Scope, sealed: s.value,
		}
		if b.Delivery == api.DeliverPlaceholder {
			rows[i].placeholder = []byte(b.PlaceholderToken)
		}
	}
	// Not in SQL: databases sort text in different ways, and the etag depends on the order.
	slices.SortFunc(rows, func(a, b boundRow) int { return strings.Compare(a.ExposeAsEnv, b.ExposeAsEnv) })
	return rows, nil
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
	list, err := t.bound(r)
	if err != nil {
		return nil, err
	}
	set := make([]api.Bound, 0, len(list))
	for _, l := range list {
		plain := slices.Clone(l.placeholder)
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
