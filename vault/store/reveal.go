package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/cache"
)

// state is the current set of a resource, without its values.
type state struct {
	labels     []api.Label
	etag       string     // of labels and the policy
	nextExpiry *time.Time // when the first secret of the set expires; nil: never
	keyExpiry  *time.Time // when the actor's key expires, which may have changed since it was authenticated; nil: never
}

// state returns the current state of a resource's set. It decrypts and audits nothing, except an attempt with a key of
// another resource or a tenant key, which is ErrDenied.
// Errors: ErrInvalid; ErrUnauthorized once the key is revoked or has expired.
func (s *Store) state(ctx context.Context, a Actor, r api.Resource) (now state, err error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return now, err
	}
	var bound boundSet
	for size := int64(0); ; {
		labels := func(t *txn) (boundSet, error) {
			now.keyExpiry = t.actor.ExpiresAt
			return t.bound(r, size, true)
		}
		if size > 0 {
			bound, err = readMuch(ctx, s, a, anyKey, int(size), labels)
		} else {
			bound, err = readSmall(ctx, s, a, r, labels)
		}
		large, ok := errors.AsType[*largeSet](err)
		if !ok {
			break
		}
		size = large.size // many reveals may wait for it: they take the turns of large operations
	}
	if err != nil {
		return now, err
	}
	now.labels = make([]api.Label, len(bound.rows))
	for i, b := range bound.rows {
		now.labels[i] = b.Label
		if e := b.ExpiresAt; e != nil && (now.nextExpiry == nil || e.Before(*now.nextExpiry)) {
			now.nextExpiry = e
		}
	}
	now.etag = api.EtagWithPolicy(r, now.labels, bound.policy)
	return now, nil
}

// boundRow is a bound secret before it is opened.
type boundRow struct {
	api.Label
	api.About
	scope       string // of the secret
	placeholder []byte // of a binding with that delivery, for an agent
	sealed      []byte // of others, and for a broker
	rules       int    // bytes of the rules, for a broker
}

// boundSet is a set before it is opened. It is either an agent's or a broker's: a broker gets the values of those bindings that
// an agent gets placeholders of.
type boundSet struct {
	rows   []boundRow
	policy *api.NetworkPolicy // for a broker
}

// setKey identifies a set in the cache.
type setKey struct {
	topic
	broker bool
}

func (t *txn) setKey(r api.Resource) setKey {
	return setKey{topic{t.actor.TenantID, r}, t.actor.broker}
}

// smallSet is the size of a set, in bytes, that is read without reserving memory for it.
const smallSet = 64 << 10

// largeSet is the error of a set that needs memory.
type largeSet struct{ size int64 }

func (*largeSet) Error() string { return "the set is large" }

// bound returns the set of a resource without expired secrets, sorted by variable name. t only reads. With labels, a set whose
// values are large has none. Errors: *largeSet for a set that takes more than smallSet and most bytes, unless only its labels
// are needed and are in the cache.
func (t *txn) bound(r api.Resource, most int64, labels bool) (boundSet, error) {
	keys, err := t.keys()
	if err != nil {
		return boundSet{}, err
	}
	of, version := t.setKey(r), cache.Version{Revision: t.revision, Generation: keys.Generation()}
	set, ok := t.store.sets.Get(of, version)
	var unread setSize
	size := int64(set.size())
	if !ok {
		sizes, err := t.setSizes(r.Type, []string{r.ID})
		if err != nil {
			return boundSet{}, err
		}
		if len(sizes) > 0 {
			unread = sizes[0]
		}
		size = unread.memory()
	}
	if size > smallSet && size > most && !(ok && labels) {
		return boundSet{}, &largeSet{size}
	}
	if !ok {
		complete := !labels || unread.values <= smallSet
		if set, err = t.readBound(r, complete); err != nil {
			return boundSet{}, err
		}
		if complete {
			t.store.sets.Put(of, version, set, set.size())
		}
	}
	list := make([]boundRow, 0, len(set.rows))
	for _, b := range set.rows {
		if (b.ExpiresAt == nil || b.ExpiresAt.After(t.now)) && t.actor.maySee(b.scope) {
			list = append(list, b)
		}
	}
	return boundSet{list, set.policy}, nil
}

// labelMemory is about the number of bytes that a binding takes in the cache, without its value.
const labelMemory = 512

// size is about the number of bytes that the set takes in the cache.
func (s boundSet) size() int {
	size := labelMemory
	for _, r := range s.rows {
		size += labelMemory + len(r.sealed) + r.rules
	}
	if s.policy != nil {
		size += labelMemory * len(s.policy.Rules)
	}
	return size
}

// setSize is the size of the set of a resource, by the resource's id.
type setSize struct {
	id               string
	bindings, values int64 // their number, and the bytes of their values
}

// memory is about the number of bytes that the set takes.
func (s setSize) memory() int64 { return labelMemory*(1+s.bindings) + s.values }

// setSizes returns the sizes of the sets of resources of a type, without reading them. Empty sets are missing.
func (t *txn) setSizes(kind string, ids []string) ([]setSize, error) {
	c := t.ofResources(kind, ids)
	values := `CASE WHEN b.delivery <> 'placeholder' THEN OCTET_LENGTH(s.value) END`
	if t.actor.broker {
		values = `OCTET_LENGTH(s.value) + OCTET_LENGTH(s.egress) + OCTET_LENGTH(b.egress)`
	}
	return collect(t, func(s *setSize) []any { return []any{&s.id, &s.bindings, &s.values} }, `SELECT b.resource_id, COUNT(*),
		COALESCE(SUM(`+values+`), 0)
		FROM bindings b JOIN secrets s ON s.id = b.secret_id`+c.String()+` GROUP BY b.resource_id`, c.args...)
}

// readBound reads the set of a resource, with expired secrets, and verifies it.
func (t *txn) readBound(r api.Resource, values bool) (boundSet, error) {
	sets, err := t.readSets(r.Type, []string{r.ID}, values)
	return sets[r.ID], err
}

// readSets is readBound for several resources of a type, by their ids.
func (t *txn) readSets(kind string, ids []string, values bool) (map[string]boundSet, error) {
	type pair struct {
		binding bindingRow
		secret  secretRow
	}
	fields := func(p *pair) []any {
		return append(append(p.binding.stored(), p.secret.stored()...).fields(), &p.secret.value)
	}
	value := "NULL"
	switch {
	case values && t.actor.broker:
		value = "s.value" // of the placeholders that ofResources selects
	case values:
		value = "CASE WHEN b.delivery <> 'placeholder' THEN s.value END"
	}
	c := t.ofResources(kind, ids)
	read, err := collect(t, fields, `SELECT `+new(bindingRow).stored().names("b.")+`, `+new(secretRow).stored().names("s.")+`, `+value+`
		FROM bindings b JOIN secrets s ON s.id = b.secret_id`+c.String(), c.args...)
	if err != nil {
		return nil, err
	}
	sets, verified := map[string]boundSet{}, map[string]struct{}{}
	for i := range read {
		b, s := &read[i].binding, &read[i].secret
		if err := t.verify(b); err != nil {
			return nil, err
		}
		if _, ok := verified[s.ID]; !ok { // many resources may have the same secret
			if err := t.verify(s); err != nil {
				return nil, err
			}
			verified[s.ID] = struct{}{}
		}
		row := boundRow{
			Label: api.Label{ID: b.ID, SecretID: s.ID, ExposeAsEnv: b.ExposeAsEnv, Version: s.Version, Delivery: b.Delivery, ExpiresAt: s.ExpiresAt},
			About: api.About{SecretName: s.Name, UpdatedAt: s.UpdatedAt}, scope: s.Scope, sealed: s.value,
		}
		switch {
		case t.actor.broker:
			row.Egress = &api.Egress{Placeholder: b.PlaceholderToken, Rules: rulesOf(s.rule, b.rule)}
			row.rules = len(s.rule) + len(b.rule)
		case b.Delivery == api.DeliverPlaceholder:
			row.placeholder = []byte(b.PlaceholderToken)
		}
		set := sets[b.Resource.ID]
		set.rows = append(set.rows, row)
		sets[b.Resource.ID] = set
	}
	for _, id := range ids {
		if set := sets[id]; t.actor.broker {
			if set.policy, err = t.networkPolicy(api.Resource{Type: kind, ID: id}); err != nil {
				return nil, err
			}
			sets[id] = set
		}
	}
	for _, set := range sets {
		// Not in SQL: databases sort text in different ways, and the etag depends on the order.
		slices.SortFunc(set.rows, func(a, b boundRow) int { return strings.Compare(a.ExposeAsEnv, b.ExposeAsEnv) })
	}
	return sets, nil
}

// ofResources selects the bindings b of resources of a type, for a broker those that agents get placeholders of.
func (t *txn) ofResources(kind string, ids []string) (c conditions) {
	c.add("b.tenant_id =", t.actor.TenantID)
	c.add("b.resource_type =", kind)
	if t.actor.broker {
		c.add("b.delivery =", api.DeliverPlaceholder)
	}
	c.in("b.resource_id", padded(ids))
	return c
}

// padded repeats the last of some ids so that their number is a power of four: the database keeps few statements prepared.
func padded(ids []string) []string {
	n := 1
	for n < len(ids) {
		n *= 4
	}
	ids = slices.Clone(ids)
	for len(ids) < n {
		ids = append(ids, ids[len(ids)-1])
	}
	return ids
}

// cacheSets reads the small sets of several resources of t's tenant into the cache, unless they are there.
func (t *txn) cacheSets(resources []api.Resource) error {
	keys, err := t.keys()
	if err != nil {
		return err
	}
	version := cache.Version{Revision: t.revision, Generation: keys.Generation()}
	missing := map[string][]string{} // ids by type
	for _, r := range resources {
		if _, ok := t.store.sets.Get(t.setKey(r), version); !ok && !slices.Contains(missing[r.Type], r.ID) {
			missing[r.Type] = append(missing[r.Type], r.ID)
		}
	}
	for kind, ids := range missing {
		sizes, err := t.setSizes(kind, ids)
		if err != nil {
			return err
		}
		small := ids[:0]
		for _, s := range sizes {
			if s.memory() <= smallSet {
				small = append(small, s.id)
			}
		}
		if len(small) == 0 {
			continue
		}
		sets, err := t.readSets(kind, small, true)
		if err != nil {
			return err
		}
		for id, set := range sets {
			t.store.sets.Put(t.setKey(api.Resource{Type: kind, ID: id}), version, set, set.size())
		}
	}
	return nil
}

// Reveal returns the resource's set, read in one transaction, sorted by variable name, and sealed to to, which is of the
// same resource. With delivery "placeholder" the value is the placeholder, or for a broker key the set has the values of these
// bindings and no others. The reveal is audited, with the versions,
// before Reveal returns; that and sealing take about the same time, and run concurrently. Before it reads a large set, it calls
// reserve with the memory in bytes that the set and the answer take.
// Errors: as state; ErrNotAudited if the audit event can't be written; those of reserve.
func (s *Store) Reveal(ctx context.Context, a Actor, r api.Resource, to *api.Sealer, reserve func(context.Context, int64) error) (api.RevealAnswer, error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return api.RevealAnswer{}, err
	}
	if err := s.limits.Event(a.limited()); err != nil {
		return api.RevealAnswer{}, err
	}
	for size := int64(0); ; {
		answer, err := s.revealUpTo(ctx, a, r, to, size)
		large, ok := errors.AsType[*largeSet](err)
		if !ok {
			return answer, err
		}
		// The values as they are stored and in plaintext, encoded and sealed; then the answer.
		const copies = 4
		size = large.size
		if err := reserve(ctx, copies*size); err != nil {
			return api.RevealAnswer{}, err
		}
	}
}

// revealUpTo is Reveal for a set of at most smallSet or most bytes. Errors: *largeSet for a larger one.
func (s *Store) revealUpTo(ctx context.Context, a Actor, r api.Resource, to *api.Sealer, most int64) (api.RevealAnswer, error) {
	end, err := s.Turn(ctx, a, int(most))
	if err != nil {
		return api.RevealAnswer{}, err
	}
	defer end()
	to.Prepare()
	open := func(t *txn) (api.Snapshot, error) { return t.opened(r, most) }
	var set api.Snapshot
	if most > smallSet {
		set, err = readNow(ctx, s, a, open) // small sets don't wait for it
	} else {
		set, err = readSet(ctx, s, a, r, open)
	}
	defer func() { set.Wipe() }() // after a failed read too
	if err != nil {
		return api.RevealAnswer{}, err
	}
	s.limits.Listed(a.limited(), len(set.Bound))
	audited := make(chan error, 1)
	go func() { audited <- s.auditReveal(ctx, a, r, set.Bound) }()
	answer, err := to.Seal(set.Bound, set.Policy)
	if err = cmp.Or(<-audited, err); err != nil {
		return api.RevealAnswer{}, err
	}
	return answer, nil
}

// opened reads the set of a resource, and opens it completely or not at all. Errors: *largeSet, as bound.
func (t *txn) opened(r api.Resource, most int64) (api.Snapshot, error) {
	keys, err := t.keys()
	if err != nil {
		return api.Snapshot{}, err
	}
	sealed, err := t.bound(r, most, false)
	if err != nil {
		return api.Snapshot{}, err
	}
	set := api.Snapshot{Bound: make([]api.Bound, 0, len(sealed.rows)), Policy: sealed.policy}
	api.Quietly(func() {
		for _, l := range sealed.rows {
			plain := slices.Clone(l.placeholder)
			if l.placeholder == nil {
				if plain, err = keys.Open(l.sealed, l.SecretID, l.Version, fieldValue); err != nil {
					return
				}
			}
			set.Bound = append(set.Bound, api.Bound{Label: l.Label, About: l.About, Value: api.NewValue(plain)})
		}
	})
	if err != nil {
		set.Wipe()
		return api.Snapshot{}, err
	}
	return set, nil
}
