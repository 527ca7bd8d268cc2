package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/goroutine"
	"github.com/Miosa-osa/miosa-env/vault/cache"
	"github.com/Miosa-osa/miosa-env/vault/hub"
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
	keyExpiry := now.keyExpiry
	now = stateOf(r, bound)
	now.keyExpiry = keyExpiry
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
	hub.Topic
	broker bool
}

func (t *txn) setKey(r api.Resource) setKey {
	return setKey{hub.Topic{Tenant: t.actor.TenantID, Resource: r}, t.actor.broker}
}

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
		sets, err := t.readSets(r.Type, []string{r.ID}, complete)
		if err != nil {
			return boundSet{}, err
		}
		if set = sets[r.ID]; complete {
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

// readSets reads the sets of resources of a type, by their ids, with expired secrets, and verifies them.
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
		FROM bindings b JOIN secrets s ON s.id = b.secret_id`+c.String(), c.Args...)
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
// bindings and no others. The reveal is audited, with the versions, before Reveal returns; that and sealing take about the same time,
// and run concurrently. Before it reads a large set, it calls reserve with the memory in bytes that the set and the answer take.
// Errors: as state; ErrNotAudited if the audit event can't be written; those of reserve.
func (s *Store) Reveal(ctx context.Context, a Actor, r api.Resource, to *api.Sealer, reserve func(context.Context, int64) error) (api.RevealAnswer, error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return api.RevealAnswer{}, err
	}
	if err := s.limits.Event(a.limited()); err != nil {
		return api.RevealAnswer{}, err
	}
	goroutine.Go(to.Prepare)
	v := revealing{store: s, actor: a, resource: r, sealer: func() (*api.Sealer, error) { return to, nil }}
	answer, _, err := v.run(ctx, reserve)
	return answer, err
}

// revealing is a reveal under way.
type revealing struct {
	store    *Store
	actor    Actor
	resource api.Resource
	sealer   func() (*api.Sealer, error)
	etag     string // of a set that isn't revealed; "": none

	set     api.Snapshot // without a resource and an etag
	recheck *time.Time   // nil: the set is another one
	audited func() error // waits until set is audited; nil: that hasn't begun
}

// run reveals a set of any size.
func (v *revealing) run(ctx context.Context, reserve func(context.Context, int64) error) (answer api.RevealAnswer, recheck *time.Time, err error) {
	for size := int64(0); ; {
		answer, err = v.upTo(ctx, size)
		large, ok := errors.AsType[*largeSet](err)
		if !ok {
			return answer, v.recheck, err
		}
		if v.etag != "" { // its labels are enough to know whether it has changed
			if recheck, err = v.store.Unchanged(ctx, v.actor, v.resource, v.etag); recheck != nil || err != nil {
				return api.RevealAnswer{}, recheck, err
			}
		}
		// The values as they are stored and in plaintext, encoded and sealed; then the answer.
		const copies = 4
		size = large.size
		if err := reserve(ctx, copies*size); err != nil {
			return api.RevealAnswer{}, nil, err
		}
	}
}

// upTo reveals a set of at most smallSet or most bytes. Errors: *largeSet for a larger one.
func (v *revealing) upTo(ctx context.Context, most int64) (answer api.RevealAnswer, err error) {
	if v.etag == "" || most > smallSet {
		end, err := v.store.Turn(ctx, v.actor, int(most))
		if err != nil {
			return answer, err
		}
		defer end()
	}
	defer func() { v.set.Wipe() }() // after a failed read too
	var refused error
	audit := func(together bool) {
		if v.recheck != nil {
			return
		}
		if v.etag != "" { // it wasn't known before that there is an event
			refused = v.store.limits.Event(v.actor.limited())
		}
		if refused == nil {
			v.audited = v.store.startAudit(ctx, v.actor, v.resource, v.set.Bound, together)
		}
	}
	if most > smallSet {
		if _, err = readNow(ctx, v.store, v.actor, v.read(most)); err == nil { // small sets don't wait for it
			audit(false)
		}
	} else {
		_, err = readSet(ctx, v.store, v.actor, v.resource, v.etag != "", v.read(most), func() { audit(true) })
	}
	if err = cmp.Or(err, refused); err != nil || v.recheck != nil {
		return answer, err
	}
	var unsealed error
	seal := func() {
		var to *api.Sealer
		if to, unsealed = v.sealer(); unsealed == nil {
			answer, unsealed = to.Seal(v.set.Bound, v.set.Policy)
		}
	}
	var sealing sync.WaitGroup
	defer sealing.Wait() // before the set is wiped
	var panicked any
	if v.etag == "" {
		// This goroutine audits: it doesn't wait for another one to start, and what it runs next is in the processor's caches.
		sealing.Add(1)
		goroutine.Go(func() {
			defer sealing.Done()
			defer func() { panicked = recover() }() // the caller expects it on its own goroutine
			seal()
		})
	} else {
		seal() // of the many that a commit wakes, one audits for all
	}
	err = v.audited()
	sealing.Wait()
	if panicked != nil {
		panic(panicked)
	}
	if err = cmp.Or(err, unsealed); err != nil {
		return api.RevealAnswer{}, err
	}
	return answer, nil
}

// read reads the set in a transaction, which may run several times.
func (v *revealing) read(most int64) func(*txn) (none struct{}, err error) {
	return func(t *txn) (none struct{}, err error) {
		v.set.Wipe()
		v.set, v.recheck, err = t.opened(v.resource, most, v.etag)
		return none, err
	}
}

// opened reads the set of a resource, and opens it completely or not at all. It doesn't open a set with the given etag, and returns
// when it may have another one without a commit. Errors: *largeSet, as bound.
func (t *txn) opened(r api.Resource, most int64, etag string) (set api.Snapshot, recheck *time.Time, err error) {
	keys, err := t.keys()
	if err != nil {
		return set, nil, err
	}
	sealed, err := t.bound(r, most, false)
	if err != nil {
		return set, nil, err
	}
	if etag != "" {
		if now := stateOf(r, sealed); now.etag == etag {
			return set, new(recheckAt(now.nextExpiry, t.actor.ExpiresAt)), nil
		}
	}
	set = api.Snapshot{Bound: make([]api.Bound, 0, len(sealed.rows)), Policy: sealed.policy}
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
		return api.Snapshot{}, nil, err
	}
	return set, nil, nil
}
