// Package audit is the audit log: events, chained by hashes so that a change outside of the vault is detected; lists of
// them; and the removal of old ones.
//
// An event is immutable, and part of its tenant's chain. Its hash covers its content and the hash of the event before it.
// The newest number and hash, the head, are authenticated under the tenant's keyset. How often an event has happened again is
// stored beside the chain, authenticated too.
package audit

import (
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/query"
	"github.com/Miosa-osa/miosa-env/vault/visible"
)

// The actions of events that this package writes.
const (
	actAltered = "audit.altered" // the log was changed outside of the vault before this event
	actPrune   = "audit.prune"   // the oldest events are removed

	actKeyRefused = "key.refused" // uses of a key that was revoked, has expired or is unknown

	// Outgoing requests, by what the policy says: each has its index.
	actTrafficAllow   = "traffic.allow"
	actTrafficDeny    = "traffic.deny"
	actTrafficPending = "traffic.pending" // no rule names the host
)

// KeyID is the key of events that the vault writes by itself.
const KeyID = "vault"

// Log is the audit log of one tenant in one transaction. Functions that only list events need no Keys.
type Log struct {
	Tx     database.Tx
	Tenant string
	Keys   *keyring.Keys // the tenant's, in the transaction; nil: they don't open, so what is written isn't authentic
	Log    zerolog.Logger
	Now    time.Time // in microseconds

	Only    query.Conditions // which events of the table a are listed
	Altered func()           // called when the log's end isn't the one that the vault has written; nil: none

	Remote bool // each statement takes a round trip to a server, so that a batch takes few, with many parameters

	// Later makes Append and Repeat keep what they would write until Flush, which the caller calls after many events. Before Repeat,
	// the caller then calls ReadRepeats.
	Later bool

	chain   *chain               // as the transaction has it; nil: not read yet
	repeats map[string][]*repeat // by key, of ReadRepeats

	// Left to Flush.
	added   []linked
	counted []*repeat
}

// Append adds an event to the log. It sets the event's id, unless it has one, tenant, time, number and hash.
func (l *Log) Append(e *api.Event) error { return l.appendAll([]*api.Event{e}) }

// appendAll is Append for several events, in their order.
func (l *Log) appendAll(events []*api.Event) error {
	c, err := l.open()
	if err != nil {
		return err
	}
	added := make([]linked, len(events))
	for i, e := range events {
		added[i] = linked{e, l.link(c, e)}
	}
	if l.Later {
		l.added = append(l.added, added...)
		return nil
	}
	if err := l.insert(added); err != nil {
		return err
	}
	return l.save(c)
}

// link makes an event the newest one of the chain, and returns its hash.
func (l *Log) link(c *chain, e *api.Event) (hash []byte) {
	for _, field := range []*string{&e.ResourceType, &e.ResourceID, &e.Detail, &e.RemoteAddr, &e.RequestID, &e.Host, &e.Method, &e.Path, &e.ExternalUserID, &e.ExternalWorkspaceID} {
		*field = visible.Replace(*field)
	}
	if e.ID == "" {
		e.ID = newID(l.Now)
	}
	e.TenantID, e.Timestamp, e.Seq = l.Tenant, l.Now, c.number+1
	hash = hashOf(c.hash, e)
	c.number, c.hash, c.eventID = e.Seq, hash, e.ID
	c.add(e)
	return hash
}

// Flush stores what Append and Repeat have kept, with few statements. See Later.
func (l *Log) Flush() error {
	added, counted := l.added, l.counted
	l.added, l.counted = nil, nil
	if err := l.insert(added); err != nil {
		return err
	}
	if err := l.putRepeats(counted); err != nil || len(added) == 0 {
		return err
	}
	return l.save(l.chain)
}

// open returns the tenant's chain. If its row isn't authentic or is missing, it says so in the log itself and goes on after
// the newest event: a vault that refused to work would do no better.
func (l *Log) open() (*chain, error) {
	if l.chain != nil {
		return l.chain, nil
	}
	c, err := l.read()
	if err == nil || l.Keys == nil {
		l.chain = c
		return c, unlessAltered(err)
	}
	if !errors.Is(err, errAltered) {
		return nil, err
	}
	l.Log.Error().Str("tenant_id", l.Tenant).Msg("audit log was changed outside of the vault")
	if l.Altered != nil {
		l.Altered()
	}
	if c, err = l.afterNewest(); err != nil {
		return nil, err
	}
	if err := l.Tx.Exec(`DELETE FROM audit_chains WHERE tenant_id = $1`, l.Tenant); err != nil {
		return nil, err
	}
	if err := l.create(c); err != nil {
		return nil, err
	}
	return c, l.Append(&api.Event{Action: actAltered, Outcome: api.OutcomeFailed, KeyID: KeyID,
		Detail: "the end of the log wasn't the one that the vault had written: events may be missing or changed"})
}

// unlessAltered returns err, or nil for errAltered.
func unlessAltered(err error) error {
	if errors.Is(err, errAltered) {
		return nil
	}
	return err
}

// afterNewest returns a chain that continues after the newest event, whether or not that event is authentic.
func (l *Log) afterNewest() (*chain, error) {
	c := &chain{}
	err := l.Tx.QueryRow(`SELECT number, hash, id FROM audit WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1`, l.Tenant).
		Scan(&c.number, &c.hash, &c.eventID)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	err = l.Tx.QueryRow(`SELECT number - 1 FROM audit WHERE tenant_id = $1 ORDER BY seq LIMIT 1`, l.Tenant).Scan(&c.prunedNumber)
	return c, err
}

// Start creates the chain of a tenant that has none, with the events that the tenant has already, and returns their number.
func (l *Log) Start() (events int64, err error) {
	c := &chain{}
	for seq := int64(-1 << 63); ; {
		batch, _, err := l.batch(seq, batchEvents)
		if err != nil {
			return 0, err
		}
		if len(batch) == 0 {
			l.chain = c
			return c.number, l.create(c)
		}
		for i := range batch {
			r := &batch[i]
			r.Seq = c.number + 1
			c.hash = hashOf(c.hash, &r.Event)
			c.number, c.eventID = r.Seq, r.ID
			c.add(&r.Event)
			if err := l.Tx.Defer(`UPDATE audit SET number = $1, hash = $2 WHERE seq = $3`, c.number, c.hash, r.seq); err != nil {
				return 0, err
			}
			if err := l.eachSecret(&r.Event, insertSecret, r.seq); err != nil {
				return 0, err
			}
			seq = r.seq
		}
	}
}

// batchEvents is how many events are read at once where all are read.
const batchEvents = 500

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
