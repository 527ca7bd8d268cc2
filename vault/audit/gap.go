package audit

import (
	"database/sql"
	"errors"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// isTraffic reports whether an event is an outgoing request.
func isTraffic(e *api.Event) bool { return strings.HasPrefix(e.Action, "traffic.") }

// gap is a row of audit_gaps: consecutive events that pruneTraffic has removed.
type gap struct {
	first, last int64  // their numbers
	hash        []byte // of the last one, which the event after it follows
	mac         []byte
}

func (g *gap) macInput() []byte {
	return api.Frame("audit_gaps", itoa(g.first), itoa(g.last), string(g.hash))
}

// gapAt returns the gap that an event number is in; nil: there is none, or it isn't authentic.
func (l *Log) gapAt(number int64) (*gap, error) {
	g := &gap{}
	err := l.Tx.QueryRow(`SELECT first_number, last_number, hash, mac FROM audit_gaps WHERE tenant_id = $1 AND first_number <= $2
		ORDER BY first_number DESC LIMIT 1`, l.Tenant, number).Scan(&g.first, &g.last, &g.hash, &g.mac)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (g.last < number || !l.verify(g.mac, g.macInput())) {
		return nil, nil
	}
	return g, err
}

// saveGap stores a gap together with those before and after it, as one. Later events may have been removed first: the times of
// events aren't in the order of the log if a clock was set back, or vaults have different clocks.
func (l *Log) saveGap(g gap) error {
	before, err := l.gapAt(g.first - 1)
	if err != nil {
		return err
	}
	after, err := l.gapAt(g.last + 1)
	if err != nil {
		return err
	}
	if before != nil {
		g.first = before.first
	}
	if after != nil {
		g.last, g.hash = after.last, after.hash
		if err := l.Tx.Exec(`DELETE FROM audit_gaps WHERE tenant_id = $1 AND first_number = $2`, l.Tenant, after.first); err != nil {
			return err
		}
	}
	mac, macKeyID, err := l.mac(g.macInput())
	if err != nil {
		return err
	}
	return l.Tx.Exec(`INSERT INTO audit_gaps (tenant_id, first_number, last_number, hash, mac_key_id, mac) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant_id, first_number) DO UPDATE SET last_number = excluded.last_number, hash = excluded.hash,
		mac_key_id = excluded.mac_key_id, mac = excluded.mac`, l.Tenant, g.first, g.last, g.hash, macKeyID, mac)
}

// passGap extends what Prune has removed by the gap after it, if there is one.
func (l *Log) passGap(c *chain) error {
	g, err := l.gapAt(c.prunedNumber + 1)
	if err != nil || g == nil {
		return err
	}
	c.trafficRemoved = max(c.trafficRemoved-(g.last-c.prunedNumber), 0)
	c.prunedNumber, c.prunedHash = g.last, g.hash
	return l.Tx.Exec(`DELETE FROM audit_gaps WHERE tenant_id = $1 AND first_number = $2`, l.Tenant, g.first)
}

// oldestTraffic returns the row of the oldest request; 0: there is none.
func (l *Log) oldestTraffic() (seq int64, err error) {
	for _, action := range []string{actTrafficAllow, actTrafficDeny, actTrafficPending} {
		var of int64
		err := l.Tx.QueryRow(`SELECT seq FROM audit WHERE tenant_id = $1 AND action = $2 ORDER BY at, seq LIMIT 1`, l.Tenant, action).Scan(&of)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return 0, err
		case seq == 0 || of < seq:
			seq = of
		}
	}
	return seq, nil
}

// surplusTraffic returns how many bytes of outgoing requests there are beyond what r keeps.
func (l *Log) surplusTraffic(r Retention) (int64, error) {
	c, err := l.read()
	if err != nil || r.Bytes == 0 {
		return 0, unlessAltered(err)
	}
	return max(c.trafficBytes-r.traffic(), 0), nil
}

// pruneTraffic removes the oldest requests, among at most limit events, until that frees some bytes, and keeps the
// other events. What it removes is a gap, so that the rest can still be verified. It returns how many it has removed, and their bytes.
// Errors: api.ErrConflict as of Prune.
func (l *Log) pruneTraffic(surplus int64, limit int) (removed int, freed int64, err error) {
	c, err := l.open()
	if err != nil || l.Keys == nil || surplus <= 0 {
		return 0, 0, err
	}
	seq, err := l.oldestTraffic()
	if err != nil || seq == 0 {
		return 0, 0, err
	}
	rows, _, err := l.batch(seq-1, limit)
	if err != nil {
		return 0, 0, err
	}
	number := rows[0].Seq - 1
	hash, err := l.hashAt(c, number, seq)
	if err != nil {
		return 0, 0, err
	}
	type run struct {
		gap
		from, through int64 // its rows
	}
	var runs []run
	for i := range rows {
		r := &rows[i]
		if r.Seq == c.number || freed >= surplus {
			break
		}
		if r.Seq != number+1 {
			g, err := l.gapAt(number + 1)
			if err != nil {
				return 0, 0, err
			}
			if g != nil {
				number, hash = g.last, g.hash
			}
		}
		if !r.follows(number, hash) {
			return 0, 0, notWritten(r)
		}
		if isTraffic(&r.Event) {
			if n := len(runs); n == 0 || runs[n-1].last != number {
				runs = append(runs, run{gap{first: r.Seq}, r.seq, 0})
			}
			end := &runs[len(runs)-1]
			end.last, end.hash, end.through = r.Seq, r.hash, r.seq
			c.subtract(&r.Event)
			c.trafficRemoved++
			removed, freed = removed+1, freed+sizeOf(&r.Event)
			if err := l.eachSecret(&r.Event, deleteSecret, r.seq); err != nil {
				return 0, 0, err
			}
		}
		number, hash = r.Seq, r.hash
	}
	for i := range runs {
		r := &runs[i]
		if err := l.saveGap(r.gap); err != nil {
			return 0, 0, err
		}
		if err := l.Tx.Exec(`DELETE FROM audit WHERE tenant_id = $1 AND seq >= $2 AND seq <= $3`, l.Tenant, r.from, r.through); err != nil {
			return 0, 0, err
		}
	}
	if removed == 0 {
		return 0, 0, nil
	}
	return removed, freed, l.save(c)
}

// hashAt returns the hash of the event with a number, which is before a row; empty: unknown, since the chain was altered.
func (l *Log) hashAt(c *chain, number, row int64) (hash []byte, err error) {
	if number == c.prunedNumber {
		return c.prunedHash, nil
	}
	g, err := l.gapAt(number)
	if err != nil {
		return nil, err
	}
	if g != nil {
		return g.hash, nil
	}
	err = l.Tx.QueryRow(`SELECT hash FROM audit WHERE tenant_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT 1`, l.Tenant, row).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return hash, err
}

// reauthenticateGaps is Reauthenticate for gaps.
func (l *Log) reauthenticateGaps(limit int) (int, error) {
	var batch []gap
	err := l.eachRow(`SELECT first_number, last_number, hash, mac FROM audit_gaps WHERE tenant_id = $1 AND mac_key_id <> $2 LIMIT $3`,
		[]any{l.Tenant, l.Keys.Current(), limit}, func(rows *sql.Rows) error {
			var g gap
			err := rows.Scan(&g.first, &g.last, &g.hash, &g.mac)
			batch = append(batch, g)
			return err
		})
	if err != nil {
		return 0, err
	}
	for i := range batch {
		g := &batch[i]
		if g.mac, err = l.reauthenticate(g.mac, g.macInput()); err != nil {
			return 0, err
		}
		if err := l.Tx.Defer(`UPDATE audit_gaps SET mac_key_id = $1, mac = $2 WHERE tenant_id = $3 AND first_number = $4`,
			l.Keys.Current(), g.mac, l.Tenant, g.first); err != nil {
			return 0, err
		}
	}
	return len(batch), nil
}
