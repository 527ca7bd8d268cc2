package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// Verifier verifies the log of one tenant in parts, each in a transaction of its own, while events are added and old ones
// removed. Its memory doesn't depend on the number of events. The zero Verifier starts at the oldest event.
type Verifier struct {
	Stored *api.AuditHead // a head that was stored elsewhere, which must be in the log; nil: none. Seq may be 0: unknown

	started bool
	seq     int64  // the row of the last event; orders rows
	number  int64  // its number in the chain
	hash    []byte // its hash; empty: unknown
	matched bool   // Stored was in the log
	removed bool   // Stored is in a gap
}

// Cursor is where a later Verifier continues.
func (v *Verifier) Cursor() string {
	return strconv.FormatInt(v.seq, 36) + "." + strconv.FormatInt(v.number, 36) + "." + base64.RawURLEncoding.EncodeToString(v.hash)
}

// ContinueAt returns the Verifier of a cursor; "" is the start. A client that changes its cursor deceives only itself.
// Errors: api.ErrInvalid.
func ContinueAt(cursor string) (*Verifier, error) {
	if cursor == "" {
		return &Verifier{}, nil
	}
	parts := strings.Split(cursor, ".")
	if len(parts) != 3 {
		return nil, errCursor
	}
	v := &Verifier{started: true}
	var err, numberErr, hashErr error
	v.seq, err = strconv.ParseInt(parts[0], 36, 64)
	v.number, numberErr = strconv.ParseInt(parts[1], 36, 64)
	v.hash, hashErr = base64.RawURLEncoding.DecodeString(parts[2])
	if errors.Join(err, numberErr, hashErr) != nil {
		return nil, errCursor
	}
	return v, nil
}

// The kinds of api.AuditProblem.
const (
	kindChanged  = "changed"  // an event's content isn't what its hash covers
	kindMissing  = "missing"  // events were removed
	kindInserted = "inserted" // an event that the vault hasn't written
	kindHead     = "head"     // the head isn't the vault's, or the log doesn't end with it
	kindCount    = "count"    // how often an event has happened was changed
)

// KindPruned is of a stored head that is older than the events that retention has kept. It says nothing about the log.
const KindPruned = "pruned"

// Next verifies at most limit further events.
func (v *Verifier) Next(l *Log, limit int) (check api.AuditCheck, err error) {
	c, err := l.read()
	if errors.Is(err, errAltered) {
		check.Seq = v.number
		check.Problem = &api.AuditProblem{Seq: c.number, EventID: c.eventID, Kind: kindHead,
			Message: "the head of the log is missing or was changed outside of the vault"}
		return check, nil
	}
	if err != nil {
		return check, err
	}
	if !v.started || v.number < c.prunedNumber { // the start, or retention has removed what was to come next
		if !v.started {
			v.seq = -1 << 63
		}
		v.started, v.number, v.hash = true, c.prunedNumber, c.prunedHash
		v.match(c.prunedNumber, c.prunedHash)
	}
	rows, more, err := l.batch(v.seq, limit)
	if err != nil {
		return check, err
	}
	for i := range rows {
		r := &rows[i]
		if r.Seq > v.number+1 {
			g, err := l.gapAt(v.number + 1)
			if err != nil {
				return check, err
			}
			check.Removed += v.pass(g)
		}
		if check.Problem = v.event(l, c, r); check.Problem != nil {
			check.Seq = v.number
			return check, nil
		}
		check.Checked++
	}
	check.Seq = v.number
	if check.Complete = !more; check.Complete {
		check.Problem = v.end(c)
	}
	return check, nil
}

// event verifies the event after the last one.
func (v *Verifier) event(l *Log, c *chain, r *eventRow) *api.AuditProblem {
	problem := func(kind, message string) *api.AuditProblem {
		return &api.AuditProblem{Seq: r.Seq, EventID: r.ID, Kind: kind, Message: message}
	}
	switch {
	case r.Seq > c.number || r.Seq <= v.number:
		return problem(kindInserted, "an event is in the log that the vault hasn't written there")
	case r.Seq != v.number+1:
		p := problem(kindMissing, "events are missing before event "+itoa(r.Seq))
		p.Seq, p.EventID = v.number+1, ""
		return p
	}
	if !r.follows(v.number, v.hash) {
		return problem(kindChanged, "the event, or the one before it, was changed or replaced outside of the vault")
	}
	if r.repeats > 0 && !v.counted(l, r) {
		return problem(kindCount, "how often the event has happened, or when it did last, was changed outside of the vault")
	}
	if r.Action == actAltered && r.KeyID == KeyID {
		return problem(kindHead, "the vault found here that the log had been changed: events before this one may be missing")
	}
	v.seq, v.number, v.hash = r.seq, r.Seq, r.hash
	v.match(r.Seq, r.hash)
	return nil
}

// pass continues after a gap, and returns how many events it passes; g may be nil: there is none.
func (v *Verifier) pass(g *gap) (events int64) {
	if g == nil {
		return 0
	}
	events = g.last - v.number
	v.number, v.hash = g.last, g.hash
	v.match(g.last, g.hash)
	v.removed = v.removed || v.Stored != nil && v.Stored.Seq >= g.first && v.Stored.Seq < g.last
	return events
}

// counted reports whether an event's count is authentic.
func (v *Verifier) counted(l *Log, r *eventRow) bool {
	return r.repeat.number == r.Seq && r.repeat.keyID == r.KeyID && r.repeat.startedAt == r.Timestamp.UnixMicro() &&
		l.verify(r.repeat.mac, r.repeat.macInput())
}

// match compares an event with the stored head.
func (v *Verifier) match(number int64, hash []byte) {
	if v.Stored != nil && v.Stored.Hash == hexOf(hash) && (v.Stored.Seq == 0 || v.Stored.Seq == number) {
		v.matched = true
	}
}

// end verifies that the log ends with its head, and that the stored head was in it.
func (v *Verifier) end(c *chain) *api.AuditProblem {
	if v.number != c.number || !bytes.Equal(v.hash, c.hash) {
		return &api.AuditProblem{Seq: v.number + 1, Kind: kindMissing, Message: "the newest events are missing: the log ends with event " +
			itoa(v.number) + ", and the vault has written " + itoa(c.number)}
	}
	if v.Stored != nil && v.Stored.Hash != "" && !v.matched {
		p := &api.AuditProblem{Seq: v.Stored.Seq, EventID: v.Stored.EventID, Kind: kindHead,
			Message: "the stored head isn't in the log: the log was put back to an earlier state, or rewritten"}
		switch {
		case v.Stored.Seq < c.prunedNumber:
			p.Kind = KindPruned
			p.Message = "the stored head isn't in the log any more: retention has removed the events up to number " + itoa(c.prunedNumber)
		case v.removed:
			p.Kind = KindPruned
			p.Message = "the stored head isn't in the log any more: it was an outgoing request, which retention has removed"
		}
		return p
	}
	return nil
}
