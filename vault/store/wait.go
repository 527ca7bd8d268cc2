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

// endingKeys are the events after which a key is valid no longer or for less time. concerning are these, and those after which a
// set may be different.
var (
	endingKeys = []string{actKeyRevoke, actKeyReplace}
	concerning = append(endingKeys[:len(endingKeys):len(endingKeys)],
		actSecretReplace, actSecretRotate, actSecretRule, actSecretDelete, actBindingCreate, actBindingDelete, actBindingRule, actBindingMove,
		actPolicyCreate, actPolicyUpdate, actPolicyDelete, actEntryCreate, actEntryDelete)
)

// ownEvents has the ids of the concerning events that this process writes, until it meets them in the log.
type ownEvents struct {
	mu  sync.Mutex // guards ids
	ids map[string]struct{}
}

// add adds events before their commit. If it fails they remain, so there is a limit.
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
	KeysEnd   bool           `json:"keys_end,omitempty"`  // a key of the tenant does
	Resources []api.Resource `json:"resources,omitempty"` // that waiting reveals are woken for
	All       bool           `json:"all,omitempty"`       // instead of Resources: all of the tenant
}

// announce makes the commit tell other processes that sets or keys of resources have changed, if the database passes that on.
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

// renameProcess makes this process take earlier announcements of its own for those of another.
func (s *Store) renameProcess() {
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

// changes are those of some time.
type changes struct {
	tenants map[string]struct{} // whose sets or keys have changed
	all     bool                // those of any may have
	keysEnd bool                // a key may be valid no longer or for less time
}

// changesSince returns the concerning changes that other processes have committed after a position, and the log's end. Every
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
	terms.In("action", concerning)
	type event struct{ id, tenant, action string }
	events, err := collect(t, func(e *event) []any { return []any{&e.id, &e.tenant, &e.action} },
		`SELECT id, tenant_id, action FROM audit`+terms.String(), terms.Args...)
	c.tenants = map[string]struct{}{}
	for _, e := range events {
		if !t.store.own.take(e.id) {
			c.tenants[e.tenant] = struct{}{}
			c.keysEnd = c.keysEnd || slices.Contains(endingKeys, e.action)
		}
	}
	return c, end, err
}

// elsewhere wakes the reveals that wait for what other processes change.
type elsewhere struct {
	*Store
	seen position  // what was committed up to it is known
	next position  // seen at the next sign of life
	last time.Time // when it was last certain that nothing is missed

	behind bool // announcements may have been missed, and the log couldn't be read since
}

// watch watches the changes of other processes: it listens to their announcements, or checks the log once per interval.
func (s *Store) watch(interval time.Duration, seen position) {
	e := &elsewhere{Store: s, seen: seen, next: seen, last: time.Now()}
	if a, ok := s.db.(database.Announcer); ok {
		a.Listen(s.open, database.Listener{Heard: e.heard, Missed: e.missed, Alive: e.alive})
		return
	}
	for tick := time.NewTicker(interval); ; {
		select {
		case <-s.open.Done():
			tick.Stop()
			return
		case <-tick.C:
			e.missed(nil)
		}
	}
}

// heard wakes the reveals that an announcement concerns.
func (e *elsewhere) heard(text string) {
	var a announcement
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		e.log.Warn().Msg("an announcement isn't one of a vault")
		return
	}
	if a.From == *e.id.Load() {
		return
	}
	e.apply(changes{keysEnd: a.KeysEnd})
	if a.All {
		e.apply(changes{tenants: map[string]struct{}{a.Tenant: {}}})
		return
	}
	e.hub.Wake(func(yield func(hub.Topic) bool) {
		for _, r := range a.Resources {
			if !yield(hub.Topic{Tenant: a.Tenant, Resource: r}) {
				return
			}
		}
	})
}

// apply makes this process notice changes.
func (e *elsewhere) apply(c changes) {
	if c.keysEnd {
		e.refreshRevocations()
		e.authenticated.Store(new(authCache))
	}
	if c.all || len(c.tenants) > 0 {
		e.hub.WakeIf(func(t hub.Topic) bool {
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

// patience is how long reveals wait while changes can't be noticed. Then they end, so that clients use another vault.
const patience = 10 * time.Second

// missed looks in the log for changes that were not announced. reason is why the process doesn't listen; nil: it does.
func (e *elsewhere) missed(reason error) {
	e.refreshRevocations()
	ctx, cancel := context.WithTimeout(e.open, patience)
	defer cancel()
	var end position
	c, err := read(ctx, e.Store, Actor{local: true}, anyKey, func(t *txn) (c changes, err error) {
		c, end, err = t.changesSince(e.seen)
		return c, err
	})
	if e.open.Err() != nil {
		return
	}
	if err := cmp.Or(reason, err); err != nil {
		e.log.Warn().Err(err).Msg("cannot check for changes by other processes")
	}
	e.behind = err != nil
	if err == nil {
		e.seen, e.next, e.last = end, end, time.Now()
		e.lost.Store(false)
		e.apply(c)
	} else if time.Since(e.last) > patience {
		e.lost.Store(true)
		e.apply(changes{all: true, keysEnd: true})
	}
}

// alive notes how far the log was when everything in it had been heard.
func (e *elsewhere) alive() {
	if e.behind {
		e.missed(nil)
		return
	}
	e.refreshRevocations()
	e.seen, e.last = e.next, time.Now()
	ctx, cancel := context.WithTimeout(e.open, patience)
	defer cancel()
	end, err := read(ctx, e.Store, Actor{local: true}, anyKey, func(t *txn) (position, error) { return endOfLog(t) })
	if err == nil {
		e.next = end
	}
}

// Subscribe calls wake, which must not block, after each commit that may have changed a resource's set or ended a key of it,
// until unsubscribe has returned.
func (s *Store) Subscribe(a Actor, r api.Resource, wake func()) (unsubscribe func()) {
	return s.hub.Subscribe(hub.Topic{Tenant: a.TenantID, Resource: r}, wake)
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
