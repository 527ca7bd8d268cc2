package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/hub"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// nudge sends a wake-up unless there is one already. It never blocks.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keyActions are the actions after which a key is no longer valid, or for less time. wakingActions are these, and those after which
// a set may be different.
var (
	keyActions    = []string{actKeyRevoke, actKeyReplace}
	wakingActions = append(keyActions[:len(keyActions):len(keyActions)],
		actSecretReplace, actSecretRotate, actSecretRule, actSecretDelete, actBindingCreate, actBindingDelete, actBindingRule, actBindingMove,
		actPolicyCreate, actPolicyUpdate, actPolicyDelete, actEntryCreate, actEntryDelete)
)

// ownEvents has the ids of the events with wakingActions that this process has written, until it reads them in the log.
type ownEvents struct {
	mu  sync.Mutex // guards ids
	ids map[string]struct{}
}

// add adds events before their commit. If the commit fails they remain, so their number is limited.
func (o *ownEvents) add(ids []string) {
	const most = 10_000
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids == nil || len(o.ids) > most {
		o.ids = map[string]struct{}{}
	}
	for _, id := range ids {
		o.ids[id] = struct{}{}
	}
}

// take removes an event, and reports whether it was there.
func (o *ownEvents) take(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.ids[id]
	delete(o.ids, id)
	return ok
}

// announcement tells other processes what a transaction has changed. It contains ids only. It is JSON, which other versions
// of the program understand too.
type announcement struct {
	From      string         `json:"from"` // the process
	Tenant    string         `json:"tenant"`
	KeysEnd   bool           `json:"keys_end,omitempty"`  // a key of the tenant is no longer valid, or for less time
	Resources []api.Resource `json:"resources,omitempty"` // whose waiting reveals are to be woken
	All       bool           `json:"all,omitempty"`       // instead of Resources: all of the tenant
}

// announce makes the commit tell other processes that sets or keys of resources have changed, if the database is an Announcer.
func (t *txn) announce(tenant string, resources []api.Resource) error {
	announcer, ok := t.store.db.(database.Announcer)
	if !ok {
		return nil
	}
	a := announcement{From: *t.store.id.Load(), Tenant: tenant, KeysEnd: t.keysEnd, Resources: resources}
	text, err := json.Marshal(a)
	if err == nil && (len(text) > database.MaxAnnouncement || slices.Contains(resources, api.Resource{})) {
		a.Resources, a.All = nil, true
		text, err = json.Marshal(a)
	}
	if err != nil {
		return err
	}
	return announcer.Announce(t, string(text))
}

// renewProcessID gives this process another id, so that it handles announcements that it has sent before as those of another
// process.
func (s *Store) renewProcessID() {
	id := rand.Text()
	s.id.Store(&id)
}

// position is an event of the audit log.
type position struct {
	seq int64
	id  string
}

// endOfLog is the newest event; zero: there is none.
func endOfLog(tx database.Tx) (p position, err error) {
	err = tx.QueryRow(`SELECT seq, id FROM audit ORDER BY seq DESC LIMIT 1`).Scan(&p.seq, &p.id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}

// changes are what other processes have changed.
type changes struct {
	tenants map[string]struct{} // whose sets or keys have changed
	all     bool                // the sets or keys of any tenant may have changed
	keysEnd bool                // a key may be no longer valid, or for less time
}

// changesSince returns the changes that other processes have committed after a position, and the log's end. Every
// change is audited in its own transaction, so the log is enough: reveals and key rotations wake nobody. If the position
// isn't in the log, the database has lost its newest changes, or the log its oldest events.
func (t *txn) changesSince(seen position) (c changes, end position, err error) {
	if end, err = endOfLog(t); err != nil || end == seen {
		return c, end, err
	}
	if seen != (position{}) {
		var id string
		err := t.QueryRow(`SELECT id FROM audit WHERE seq = $1`, seen.seq).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) || err == nil && id != seen.id {
			return changes{all: true, keysEnd: true}, end, nil
		}
		if err != nil {
			return c, end, err
		}
	}
	var terms query.Conditions
	terms.Add("seq >", seen.seq)
	terms.Add("seq <=", end.seq)
	terms.In("action", wakingActions)
	type event struct{ id, tenant, action string }
	events, err := collect(t, func(e *event) []any { return []any{&e.id, &e.tenant, &e.action} },
		`SELECT id, tenant_id, action FROM audit`+terms.String(), terms.Args...)
	c.tenants = map[string]struct{}{}
	for _, e := range events {
		if !t.store.own.take(e.id) {
			c.tenants[e.tenant] = struct{}{}
			c.keysEnd = c.keysEnd || slices.Contains(keyActions, e.action)
		}
	}
	return c, end, err
}

// changeWatcher wakes the reveals that wait for what other processes change.
type changeWatcher struct {
	*Store
	seen position  // what was committed up to it is known
	next position  // seen from the next call of alive on
	last time.Time // when it was last certain that nothing was missed

	behind bool // announcements may have been missed, and the log couldn't be read since
}

// watch watches the changes of other processes: it listens to their announcements, or checks the log once per interval.
func (s *Store) watch(interval time.Duration, seen position) {
	w := &changeWatcher{Store: s, seen: seen, next: seen, last: time.Now()}
	if a, ok := s.db.(database.Announcer); ok {
		a.Listen(s.open, database.Listener{Heard: w.heard, Missed: w.missed, Alive: w.alive})
		return
	}
	for tick := time.NewTicker(interval); ; {
		select {
		case <-s.open.Done():
			tick.Stop()
			return
		case <-tick.C:
			w.missed(nil)
		}
	}
}

// heard wakes the reveals that an announcement concerns.
func (w *changeWatcher) heard(text string) {
	var a announcement
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		w.log.Warn().Msg("an announcement isn't one of a vault")
		return
	}
	if a.From == *w.id.Load() {
		return
	}
	w.apply(changes{keysEnd: a.KeysEnd})
	if a.All {
		w.apply(changes{tenants: map[string]struct{}{a.Tenant: {}}})
		return
	}
	w.hub.Wake(func(yield func(hub.Topic) bool) {
		for _, r := range a.Resources {
			if !yield(hub.Topic{Tenant: a.Tenant, Resource: r}) {
				return
			}
		}
	})
}

// apply makes this process notice changes.
func (w *changeWatcher) apply(c changes) {
	if c.keysEnd {
		w.refreshRevocations()
		w.authenticated.Store(new(authCache))
	}
	if c.all || len(c.tenants) > 0 {
		w.hub.WakeIf(func(t hub.Topic) bool {
			_, ok := c.tenants[t.Tenant]
			return ok || c.all
		})
	}
}

func (s *Store) refreshRevocations() {
	if err := s.revocations.Refresh(); err != nil {
		s.log.Warn().Err(err).Msg("cannot read the list of revoked keys")
	}
}

// patience is how long reveals go on waiting while changes can't be noticed. Then they end, so that clients use another vault.
const patience = 10 * time.Second

// missed reads in the log what may not have been announced. reason is why the process doesn't listen; nil: it does.
func (w *changeWatcher) missed(reason error) {
	w.refreshRevocations()
	ctx, cancel := context.WithTimeout(w.open, patience)
	defer cancel()
	var end position
	c, err := read(ctx, w.Store, Actor{local: true}, anyKey, func(t *txn) (c changes, err error) {
		c, end, err = t.changesSince(w.seen)
		return c, err
	})
	if w.open.Err() != nil {
		return
	}
	if err := cmp.Or(reason, err); err != nil {
		w.log.Warn().Err(err).Msg("cannot check for changes by other processes")
	}
	w.behind = err != nil
	if err == nil {
		w.seen, w.next, w.last = end, end, time.Now()
		w.lost.Store(false)
		w.apply(c)
	} else if time.Since(w.last) > patience {
		w.lost.Store(true)
		w.apply(changes{all: true, keysEnd: true})
	}
}

// alive moves seen forward: everything up to next was heard.
func (w *changeWatcher) alive() {
	if w.behind {
		w.missed(nil)
		return
	}
	w.refreshRevocations()
	w.seen, w.last = w.next, time.Now()
	ctx, cancel := context.WithTimeout(w.open, patience)
	defer cancel()
	end, err := read(ctx, w.Store, Actor{local: true}, anyKey, func(t *txn) (position, error) { return endOfLog(t) })
	if err == nil {
		w.next = end
	}
}

// Subscribe calls wake, which must not block, after each commit that may have changed a resource's set or ended a key of it,
// until unsubscribe has returned.
func (s *Store) Subscribe(a Actor, r api.Resource, wake func()) (unsubscribe func()) {
	return s.hub.Subscribe(hub.Topic{Tenant: a.TenantID, Resource: r}, wake)
}

// RevealChanged is Reveal if the set's etag isn't the given one any more. Otherwise it returns when that may change without a commit, as
// Unchanged does. It calls sealer only for a set that it reveals. The caller has a WokenTurn.
func (s *Store) RevealChanged(ctx context.Context, a Actor, r api.Resource, etag string, sealer func() (*api.Sealer, error),
	reserve func(context.Context, int64) error,
) (answer api.RevealAnswer, recheck *time.Time, err error) {
	if err := s.mayReveal(ctx, a, r); err != nil {
		return answer, nil, err
	}
	v := revealing{store: s, actor: a, resource: r, sealer: sealer, etag: etag}
	return v.run(ctx, reserve)
}

// Unchanged returns nil if the resource's set differs from etag, or else when that may change without a commit: the set or the key expires.
// That is within a day. Errors: ErrUnauthorized if the key is revoked or has expired; else as state.
func (s *Store) Unchanged(ctx context.Context, a Actor, r api.Resource, etag string) (recheck *time.Time, err error) {
	now, err := s.state(ctx, a, r)
	if err != nil || now.etag != etag {
		return nil, err
	}
	at := recheckAt(now.nextExpiry, now.keyExpiry)
	return &at, nil
}

// stateOf is the state of a set, without the expiry of a key.
func stateOf(r api.Resource, bound boundSet) (now state) {
	now.labels = make([]api.Label, len(bound.rows))
	for i, b := range bound.rows {
		now.labels[i] = b.Label
		now.labels[i].Placeholder = string(b.placeholder)
		if e := b.ExpiresAt; e != nil && (now.nextExpiry == nil || e.Before(*now.nextExpiry)) {
			now.nextExpiry = e
		}
	}
	now.etag = api.EtagWithPolicy(r, now.labels, bound.policy)
	return now
}

// recheckAt is when the first of some times has passed, or in a day. nil is no time.
func recheckAt(times ...*time.Time) time.Time {
	at := time.Now().Add(24 * time.Hour)
	for _, t := range times {
		if t != nil && t.Before(at) {
			at = t.Add(time.Microsecond) // the store compares in microseconds
		}
	}
	return at
}

// Await waits until the resource's set differs from etag.
// Errors: api.ErrNotModified if it doesn't within wait; those of Missed once it was woken; ErrUnavailable when the store closes; ctx's own;
// else as Unchanged.
func (s *Store) Await(ctx context.Context, a Actor, r api.Resource, etag string, wait time.Duration) error {
	woken := make(chan struct{}, 1)
	defer s.Subscribe(a, r, func() { nudge(woken) })()
	deadline := time.After(wait)
	for {
		recheck, err := s.Unchanged(ctx, a, r, etag)
		if err != nil || recheck == nil {
			return err
		}
		select {
		case <-woken:
			if err := s.Missed(); err != nil {
				return err
			}
		case <-time.After(time.Until(*recheck)):
		case <-deadline:
			return api.ErrNotModified
		case <-ctx.Done():
			return ctx.Err()
		case <-s.open.Done():
			return database.ErrClosed
		}
	}
}

// Missed returns ErrUnavailable if the store can't notice changes by other processes any more. Reveals that wait are woken then.
func (s *Store) Missed() error {
	if s.lost.Load() {
		return errLost
	}
	return nil
}

var errLost = api.NewError(api.ErrUnavailable, "the vault can't read its database now")
