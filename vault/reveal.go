package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// Standing is the set of one resource as it stands, without its values.
type Standing struct {
	Labels     []api.Label
	Etag       string     // api.Etag of Labels
	NextChange *time.Time // when it changes by itself, because a secret expires; nil: never
}

// mayReveal refuses tenant keys, and keys of other resources, with ErrDenied, and audits the attempt.
func (s *Store) mayReveal(ctx context.Context, a Actor, r api.Resource) error {
	if err := r.Validate(); err != nil {
		return err
	}
	event := api.Event{Action: actReveal, ResourceType: r.Type, ResourceID: r.ID}
	switch {
	case a.Resource == nil:
		return s.deny(ctx, a, event, "a tenant key reads no values: reveal takes a resource key")
	case *a.Resource != r:
		return s.deny(ctx, a, event, otherResource)
	}
	return nil
}

// Standing tells what the resource's set is now. It decrypts and audits nothing, except that a key
// of another resource, or a tenant key, is ErrDenied and that attempt is audited.
// Errors: ErrInvalid; ErrUnauthorized once the key is revoked or has expired.
func (s *Store) Standing(ctx context.Context, a Actor, r api.Resource) (Standing, error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return Standing{}, err
	}
	var standing Standing
	err := s.read(ctx, a, func(t *txn) error {
		bound, err := t.labels(r)
		if err != nil {
			return err
		}
		standing = Standing{Labels: make([]api.Label, len(bound))}
		for i, b := range bound {
			standing.Labels[i] = b.Label
			if e := b.ExpiresAt; e != nil && (standing.NextChange == nil || e.Before(*standing.NextChange)) {
				standing.NextChange = e
			}
		}
		standing.Etag = api.Etag(r, standing.Labels)
		return nil
	})
	return standing, err
}

// labelled is one bound secret before it is opened.
type labelled struct {
	api.Label
	api.About
	placeholder string
	sealed      []byte // the value; labels leaves it out
}

// labels reads the set of a resource, without what has expired, sorted by variable name.
func (t *txn) labels(r api.Resource) ([]labelled, error) { return t.bound(r, "''") }

// bound reads the set, and of each secret the given expression as its sealed value.
func (t *txn) bound(r api.Resource, sealed string) ([]labelled, error) {
	rows, err := t.Query(`SELECT b.id, b.secret_id, b.env_name, s.version, b.delivery, s.expires_at, s.name, s.updated_at, b.placeholder_token, `+sealed+`
		FROM bindings b JOIN secrets s ON s.id = b.secret_id
		WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND (s.expires_at IS NULL OR s.expires_at > $4)`,
		t.actor.TenantID, r.Type, r.ID, t.now.UnixMicro())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []labelled
	for rows.Next() {
		var l labelled
		var expires sql.NullInt64
		var updated int64
		if err := rows.Scan(&l.ID, &l.SecretID, &l.ExposeAsEnv, &l.Version, &l.Delivery, &expires,
			&l.SecretName, &updated, &l.placeholder, &l.sealed); err != nil {
			return nil, err
		}
		l.ExpiresAt, l.UpdatedAt = fromNullMicros(expires), fromMicros(updated)
		list = append(list, l)
	}
	// Here, not in SQL: databases sort text in more ways than one, and the etag depends on it.
	slices.SortFunc(list, func(a, b labelled) int { return strings.Compare(a.ExposeAsEnv, b.ExposeAsEnv) })
	return list, rows.Err()
}

// Reveal returns the resource's set in the clear, read in one transaction, sorted by variable name,
// and records who was given which versions before it returns. Under delivery "placeholder" the value
// is the placeholder. Wipe the values when they are used.
// Errors: as Standing; ErrUnavailable when the audit event can't be written: nothing is given then.
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

// RevealSealed is Reveal, sealed: to must be of the same resource.
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

// reveal reads and opens a set, then uses it while the audit event is being written: the two take about
// as long, and neither needs the other. What use made is given out only if reveal returns nil. After use
// the values are wiped.
func (s *Store) reveal(ctx context.Context, a Actor, r api.Resource, use func([]api.Bound) error) error {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return err
	}
	var keys *keyring.Keys
	var list []labelled
	err := s.read(ctx, a, func(t *txn) (err error) {
		if keys, err = t.keys(a.TenantID); err != nil {
			return err
		}
		// What is delivered as a placeholder isn't even read.
		list, err = t.bound(r, "CASE WHEN b.delivery = 'placeholder' THEN NULL ELSE s.value END")
		return err
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

// auditReveal records that a set is given out.
func (s *Store) auditReveal(ctx context.Context, a Actor, r api.Resource, list []labelled) error {
	event := api.Event{Action: actReveal, ResourceType: r.Type, ResourceID: r.ID, Bindings: make([]api.EventRef, len(list))}
	for i, l := range list {
		event.Bindings[i] = api.EventRef{ID: l.ID, SecretID: l.SecretID, Version: l.Version}
	}
	// The key is checked once more under the write lock: after a revocation has been answered, nothing
	// more is given out under it.
	err := s.write(ctx, a, func(t *txn) error { return t.audit(event) })
	if err != nil && !errors.Is(err, api.ErrUnauthorized) {
		return fmt.Errorf("%w: %w", errNotAudited, err)
	}
	return err
}

var errNotAudited = api.NewError(api.ErrUnavailable, "the reveal can't be audited now, so it is refused")

// openAll opens a set, or nothing of it.
func openAll(k *keyring.Keys, list []labelled) ([]api.Bound, error) {
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
