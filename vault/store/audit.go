package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/hub"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// The actions that are audited.
const (
	actSecretCreate  = "secret.create"
	actSecretReplace = "secret.replace"
	actSecretRotate  = "secret.rotate"
	actSecretDelete  = "secret.delete"
	actSecretRule    = "secret.rule" // where a broker may send the value
	actBindingCreate = "binding.create"
	actBindingDelete = "binding.delete"
	actBindingRule   = "binding.rule" // which narrows its secret's
	actBindingMove   = "binding.move" // to the secret that replaces another one
	actBindingList   = "binding.list" // denied attempts only
	actReveal        = "reveal"
	actBrokerReveal  = "broker.reveal" // to a broker: the values that a resource gets placeholders for
	actOAuthStart    = "oauth.start"
	actOAuthCallback = "oauth.callback" // a flow ended; what it stored has events of its own
	actOAuthRefresh  = "oauth.refresh"  // one that gave no token; others are secret.rotate
	actOAuthRead     = "oauth.read"     // denied attempts only
	actKeyCreate     = "key.create"
	actKeyReplace    = "key.replace" // the key has a successor, and ends later
	actKeyRevoke     = "key.revoke"
	actKeysDelete    = "keys.delete" // keys that ended long ago
	actKeysRotate    = "keys.rotate" // new rows use a new data key
	actKeysRetire    = "keys.retire" // all rows use the new data key; the old ones were deleted
	actRowRefused    = "row.refused" // a row that was altered outside of the vault
	actRootRotate    = "root.rotate" // the tenant's keyset is wrapped with a new root key
	actPolicyCreate  = "policy.create"
	actPolicyUpdate  = "policy.update"
	actPolicyDelete  = "policy.delete"
	actEntryCreate   = "allowlist.create"
	actEntryDelete   = "allowlist.delete"
	// Reads are not audited, except those that a key may not make.
	actSecretRead  = "secret.read"
	actAuditRead   = "audit.read"
	actKeyRead     = "key.read"
	actNetworkRead = "network.read"
	actTraffic     = "traffic" // reports of outgoing requests; their events have actions of package audit
)

// auditLog is the log of the actor's tenant. It exists even if the tenant's keyset doesn't open, so that a key can be revoked.
func (t *txn) auditLog() (*audit.Log, error) {
	keys, err := t.keys()
	if err != nil && !errors.Is(err, api.ErrInternal) {
		return nil, err
	}
	if t.log == nil || t.log.Tenant != t.actor.TenantID {
		t.log = &audit.Log{Tx: t, Tenant: t.actor.TenantID, Log: t.store.log, Now: t.now}
		_, t.log.Remote = t.store.db.(database.Announcer)
		if count := t.store.conf.OnAltered; count != nil {
			t.log.Altered = func() { count("audit_chains") }
		}
	}
	t.log.Keys = keys
	return t.log, nil
}

// audit records an event in the transaction, with its time, key, address and request.
func (t *txn) audit(e api.Event) error {
	return t.record(e, func(l *audit.Log, e *api.Event) error { return l.Append(e) })
}

// auditRepeat is audit for an event that one client can cause as often as it likes: repetitions are counted in one event.
func (t *txn) auditRepeat(e api.Event) error {
	return t.record(e, func(l *audit.Log, e *api.Event) error { return l.Repeat(e, 1) })
}

func (t *txn) record(e api.Event, write func(*audit.Log, *api.Event) error) error {
	e.KeyID, e.RemoteAddr, e.RequestID = t.actor.KeyID, t.actor.RemoteAddr, t.actor.RequestID
	e.Outcome = cmp.Or(e.Outcome, api.OutcomeOK)
	l, err := t.auditLog()
	if err == nil {
		err = write(l, &e)
	}
	if slices.Contains(wakingActions, e.Action) {
		t.events = append(t.events, e.ID)
		t.keysEnd = t.keysEnd || slices.Contains(keyActions, e.Action)
	}
	if err != nil {
		return fmt.Errorf("%w %s: %w", errUnaudited, e.Action, err)
	}
	return nil
}

// startAudit begins to record a reveal: together with others, or alone. audited waits until it is recorded.
func (s *Store) startAudit(ctx context.Context, a Actor, r api.Resource, set []api.Bound, together bool) (audited func() error) {
	s.limits.Listed(a.limited(), len(set))
	event := api.Event{Action: a.reveals(), ResourceType: r.Type, ResourceID: r.ID, Bindings: make([]api.EventRef, len(set))}
	for i, b := range set {
		event.Bindings[i] = api.EventRef{ID: b.ID, SecretID: b.SecretID, Version: b.Version}
	}
	// The key is checked once more under the write lock: after the answer to a revocation nothing is revealed with it.
	job, wait := &revealEvent{actor: a, event: event}, func() {}
	if together {
		wait = s.revealEvents.Start(job)
	}
	return func() error {
		wait()
		err := job.err
		if !job.done {
			err = s.writeNow(ctx, a, func(t *txn) error { return t.auditRepeat(event) })
		}
		if err != nil && !errors.Is(err, api.ErrUnauthorized) {
			return fmt.Errorf("%w: %w", ErrNotAudited, err)
		}
		return err
	}
}

// reveals is the action of the actor's reveals.
func (a Actor) reveals() string {
	if a.broker {
		return actBrokerReveal
	}
	return actReveal
}

// ErrNotAudited is the error of a reveal that can't be recorded.
var ErrNotAudited = api.NewError(api.ErrUnavailable, "the reveal can't be audited now, so it is refused")

// revealEvent is the event of a reveal.
type revealEvent struct {
	actor Actor
	event api.Event
	err   error
	done  bool // err is final
}

// auditReveals records the events of reveals in one transaction. One that isn't done must be recorded alone: something has failed.
func (s *Store) auditReveals(jobs []*revealEvent) {
	err := s.db.Write(context.Background(), func(tx database.Tx) error {
		at := now()
		ofTenant := map[string][]*revealEvent{}
		for _, j := range jobs {
			ofTenant[j.actor.TenantID] = append(ofTenant[j.actor.TenantID], j)
		}
		for _, jobs := range ofTenant {
			if err := (&txn{Tx: tx, store: s, actor: jobs[0].actor, now: at}).auditReveals(jobs); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, j := range jobs {
			j.done = false
		}
		return
	}
	s.failing.Store(false)
}

// auditReveals records the events of reveals of one tenant.
func (t *txn) auditReveals(jobs []*revealEvent) error {
	actors, keys := make([]Actor, len(jobs)), make([]string, len(jobs))
	for i, j := range jobs {
		actors[i], keys[i] = j.actor, j.actor.KeyID
	}
	l, err := t.auditLog()
	if err == nil {
		l.Later = true
		err = cmp.Or(t.readKeyMACs(actors), l.ReadRepeats(keys))
	}
	if err != nil {
		return err
	}
	for _, j := range jobs {
		t.actor = j.actor
		if j.err = t.checkKey(j.actor); j.err == nil {
			j.err = t.auditRepeat(j.event)
		}
		if _, refused := errors.AsType[*api.Error](j.err); j.err != nil && !refused {
			return j.err
		}
		j.done = true
	}
	return l.Flush()
}

// errUnaudited is the error of an event that couldn't be written, so the change it records is refused.
var errUnaudited = errors.New("audit")

// deny returns ErrDenied and audits the attempt. An attempt that can't be audited is denied too.
func (s *Store) deny(ctx context.Context, a Actor, action string, r api.Resource, message string) error {
	err := s.write(ctx, a, anyKey, func(t *txn) error {
		return t.auditRepeat(api.Event{Action: action, Outcome: api.OutcomeDenied, ResourceType: r.Type, ResourceID: r.ID})
	})
	if errors.Is(err, api.ErrUnauthorized) || errors.Is(err, api.ErrRateLimited) {
		return err
	}
	if err != nil {
		s.log.Error().Err(err).Str("action", action).Msg("denied attempt not audited")
	}
	return api.NewError(api.ErrDenied, message)
}

// Permit returns ErrDenied, and audits the attempt on r, if action isn't for keys of the actor's kind, or not among the
// actor's permissions: resource keys list and reveal bindings, broker keys reveal and report
// traffic, tenant keys do everything else.
func (s *Store) Permit(ctx context.Context, a Actor, action string, r api.Resource) error {
	switch {
	case a.isTenant() && action == actReveal:
		return s.deny(ctx, a, action, r, "a tenant key can't reveal: use a resource key")
	case a.isTenant() && action == actTraffic:
		return s.deny(ctx, a, action, r, "only a broker reports traffic: use a broker key")
	case a.isTenant() && a.refusal(action) != "":
		return s.deny(ctx, a, action, r, a.refusal(action))
	case a.isTenant(), a.broker && action == actTraffic, action == actReveal, action == anyKey:
		return nil
	case a.broker:
		return s.deny(ctx, a, action, r, "a broker key may only reveal what its resources get placeholders for, and report their requests")
	case action == actBindingList:
		return nil
	}
	return s.deny(ctx, a, action, r, "a resource key may only list and reveal its own resource's bindings")
}

// mayReveal returns ErrDenied for tenant keys and keys of other resources, and audits the attempt.
func (s *Store) mayReveal(ctx context.Context, a Actor, r api.Resource) error {
	if err := s.Permit(ctx, a, actReveal, r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if a.Resource != r && !(a.broker && a.Has(r)) {
		return s.deny(ctx, a, a.reveals(), r, otherResource)
	}
	return nil
}

// AuditFilter selects events.
type AuditFilter = audit.Filter

// readLog returns the results of do, which reads the log of the actor's tenant in one snapshot.
func readLog[T any](ctx context.Context, s *Store, a Actor, do func(*audit.Log) (T, error)) (T, error) {
	return readMuch(ctx, s, a, actAuditRead, query.PageBytes, func(t *txn) (result T, err error) {
		l, err := t.auditLog()
		if err != nil {
			return result, err
		}
		t.limitLog(l)
		return do(l)
	})
}

// limitLog makes a log show only what the actor's key may see.
func (t *txn) limitLog(l *audit.Log) {
	var c query.Conditions
	t.actor.limitEvents(&c)
	l.Only = c
}

// Audit lists events: the newest first, or with Since the oldest first, so that a reader that follows
// the audit misses nothing. next is the cursor of the next page, "" at the end.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Audit(ctx context.Context, a Actor, f AuditFilter) (events []api.Event, next string, err error) {
	events, err = readLog(ctx, s, a, func(l *audit.Log) (events []api.Event, err error) {
		events, next, err = l.List(f)
		return events, err
	})
	return events, next, err
}

// AuditHosts returns the hosts of a filter's events. partial reports whether older events weren't examined. Errors: as Audit.
func (s *Store) AuditHosts(ctx context.Context, a Actor, f AuditFilter) (groups []audit.HostGroup, partial bool, err error) {
	groups, err = readLog(ctx, s, a, func(l *audit.Log) (groups []audit.HostGroup, err error) {
		groups, partial, err = l.ByHost(f)
		return groups, err
	})
	return groups, partial, err
}

// AuditEvent returns one event. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) AuditEvent(ctx context.Context, a Actor, id string) (api.Event, error) {
	return readLog(ctx, s, a, func(l *audit.Log) (api.Event, error) { return l.Event(id) })
}

// SubscribeTraffic is Subscribe for requests that this process has recorded for the actor's tenant.
func (s *Store) SubscribeTraffic(a Actor, wake func()) (unsubscribe func()) {
	return s.traffic.Subscribe(hub.Topic{Tenant: a.TenantID}, wake)
}

// AuditEnd returns the position after the newest event, for AuditAfter. Errors: as Audit.
func (s *Store) AuditEnd(ctx context.Context, a Actor) (int64, error) {
	return readLog(ctx, s, a, (*audit.Log).End)
}

// AuditAfter returns the events after a position that concern resources with an id, and the position after them. Errors: as Audit.
func (s *Store) AuditAfter(ctx context.Context, a Actor, seq int64, resourceID string) (events []api.Event, next int64, err error) {
	events, err = readLog(ctx, s, a, func(l *audit.Log) (events []api.Event, err error) {
		events, next, err = l.After(seq, resourceID)
		return events, err
	})
	return events, next, err
}

// trafficBatch is how many requests one transaction records: others write in between.
const trafficBatch = 250

// RecordTraffic records requests that a broker reports, in their order, except those that were recorded before. If it fails, some may
// be recorded: the report is to be sent again.
// Errors: ErrInvalid, naming the event and the field; ErrDenied for other keys, and for resources of other brokers; ErrRateLimited.
func (s *Store) RecordTraffic(ctx context.Context, a Actor, reports []api.TrafficEvent) (answer api.TrafficAnswer, err error) {
	if err := s.Permit(ctx, a, actTraffic, api.Resource{}); err != nil {
		return answer, err
	}
	if len(reports) == 0 || len(reports) > api.MaxTrafficEvents {
		return answer, invalid(fmt.Sprintf("events must have 1 to %d events", api.MaxTrafficEvents))
	}
	for i := range reports {
		r := &reports[i]
		if err := cmp.Or(r.Validate(), checkText("host", r.Host, maxName), checkText("method", r.Method, maxName),
			checkText("path", r.Path, maxNote), checkText("reason", r.Reason, maxName)); err != nil {
			return answer, invalid(fmt.Sprintf("events[%d].%s", i, err))
		}
		if !slices.Contains(a.Resources, r.Resource.String()) {
			return answer, s.deny(ctx, a, actTraffic, r.Resource, otherResource)
		}
	}
	if err := s.limits.Traffic(a.limited(), len(reports)); err != nil {
		return answer, err
	}
	const each = 1 << 10 // bytes
	end, err := s.Turn(ctx, a, each*len(reports))
	if err != nil {
		return answer, err
	}
	defer end()
	for batch := range slices.Chunk(reports, trafficBatch) {
		var added int
		err := s.writeNow(ctx, a, func(t *txn) error {
			l, err := t.auditLog()
			if err == nil {
				added, err = l.AppendTraffic(api.Event{KeyID: a.KeyID, RemoteAddr: a.RemoteAddr, RequestID: a.RequestID}, batch, t.usedBindings)
			}
			if err != nil {
				return fmt.Errorf("%w %s: %w", errUnaudited, actTraffic, err)
			}
			return nil
		})
		if err != nil {
			return answer, err
		}
		answer.Recorded, answer.Known = answer.Recorded+added, answer.Known+len(batch)-added
		s.traffic.Wake(slices.Values([]hub.Topic{{Tenant: a.TenantID}}))
	}
	return answer, nil
}

// refusedKey is the error of a key that isn't valid.
type refusedKey struct {
	audit.Refusal // without an address
}

func (refusedKey) Error() string { return errKey.Error() }
func (refusedKey) Unwrap() error { return errKey }

// CountRefusal counts the use of an invalid key from an address, if err is Authenticate's error for one. It returns the reason;
// "": err is another one. Within seconds the count is in the audit log of the key's tenant, or of unknown keys in that of the vault
// itself.
func (s *Store) CountRefusal(err error, address string) (reason string) {
	if refused, ok := errors.AsType[refusedKey](err); ok {
		refused.Address = address
		s.refusals.Add(refused.Refusal)
		return refused.Reason
	}
	return ""
}
