package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/Miosa-osa/miosa-env/api"
)

// ExportedEvent is a line of an export: an event and the hash of the one before it.
type ExportedEvent struct {
	api.Event
	PrevHash string `json:"prev_hash"`         // hex; "" for the first event of a tenant
	Removed  int64  `json:"removed,omitempty"` // outgoing requests between the two, which retention has removed

	row int64 // orders rows
}

// Export returns the next events of the chain, oldest first. after is the last event before them; the zero ExportedEvent is the
// start.
func (l *Log) Export(after ExportedEvent, limit int) ([]ExportedEvent, error) {
	if after.Seq == 0 {
		c, err := l.read()
		if unlessAltered(err) != nil {
			return nil, err
		}
		after.row, after.Hash = -1<<63, hexOf(c.prunedHash)
	}
	rows, _, err := l.batch(after.row, limit)
	list := make([]ExportedEvent, len(rows))
	if err != nil {
		return nil, err
	}
	for i := range rows {
		e := ExportedEvent{Event: rows[i].Event, PrevHash: after.Hash, row: rows[i].seq}
		if e.Seq > after.Seq+1 && after.Seq > 0 {
			g, err := l.gapAt(after.Seq + 1)
			if err != nil {
				return nil, err
			}
			if g != nil && g.last == e.Seq-1 {
				e.PrevHash, e.Removed = hexOf(g.hash), e.Seq-1-after.Seq
			}
		}
		list[i], after = e, e
	}
	return list, nil
}

// VerifyExport verifies an export of one tenant without its keyset: that no event between the first and the last is missing or
// changed. stored returns the tenant's head, which must be in the export; nil: there is none. Counts can't be verified.
func VerifyExport(r io.Reader, stored func(tenantID string) *api.AuditHead) (head api.AuditHead, check api.AuditCheck, err error) {
	lines := json.NewDecoder(r)
	v := Verifier{}
	for {
		var raw json.RawMessage
		var e api.Event
		var link struct {
			PrevHash string `json:"prev_hash"`
			Removed  int64  `json:"removed"`
		}
		err := lines.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err = errors.Join(err, json.Unmarshal(raw, &e), json.Unmarshal(raw, &link)); err != nil {
			return head, check, fmt.Errorf("line %d isn't an exported event", check.Checked+1)
		}
		hash, hashErr := hex.DecodeString(e.Hash)
		before, beforeErr := hex.DecodeString(link.PrevHash)
		if hashErr != nil || beforeErr != nil || e.Seq < 1 {
			return head, check, fmt.Errorf("line %d isn't an exported event", check.Checked+1)
		}
		if !v.started {
			v.started, v.number, v.hash = true, e.Seq-1, before
			head.TenantID, head.Pruned = e.TenantID, e.Seq-1
			if stored != nil {
				v.Stored = stored(e.TenantID)
			}
			v.match(v.number, v.hash)
		}
		if e.Seq > v.number+1 && link.Removed == e.Seq-1-v.number {
			check.Removed += v.pass(&gap{first: v.number + 1, last: e.Seq - 1, hash: before})
		}
		problem := &api.AuditProblem{Seq: e.Seq, EventID: e.ID}
		switch {
		case e.Seq > v.number+1:
			problem.Seq, problem.EventID, problem.Kind, problem.Message = v.number+1, "", kindMissing, "events are missing before event "+itoa(e.Seq)
		case e.Seq != v.number+1 || e.TenantID != head.TenantID:
			problem.Kind, problem.Message = kindInserted, "an event is there that isn't the next one of the tenant"
		case !bytes.Equal(hashOf(v.hash, &e), hash) || !bytes.Equal(before, v.hash):
			problem.Kind, problem.Message = kindChanged, "the event, or the one before it, was changed"
		default:
			problem = nil
		}
		if problem != nil {
			check.Problem = problem
			return head, check, nil
		}
		v.number, v.hash = e.Seq, hash
		v.match(e.Seq, hash)
		head.Seq, head.Hash, head.EventID = e.Seq, e.Hash, e.ID
		check.Checked, check.Seq = check.Checked+1, e.Seq
	}
	check.Complete = true
	head.Count = check.Checked
	if v.Stored != nil && !v.matched {
		check.Problem = &api.AuditProblem{Seq: v.Stored.Seq, EventID: v.Stored.EventID, Kind: kindHead, Message: "the stored head isn't in the export"}
	}
	return head, check, nil
}
