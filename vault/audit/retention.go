package audit

import (
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Retention is how much of each tenant's log is kept.
type Retention struct {
	Age   time.Duration // of events; 0: any
	Bytes int64         // of a tenant's events, about; 0: any number. Traffic has half of them at most
}

// traffic is how many bytes of outgoing requests are kept.
func (r Retention) traffic() int64 { return r.Bytes / 2 }

// String is how ParseRetention takes it.
func (r Retention) String() string {
	var parts []string
	if r.Age > 0 {
		parts = append(parts, strconv.FormatInt(int64(r.Age/time.Second), 10)+"s")
	}
	if r.Bytes > 0 {
		parts = append(parts, strconv.FormatInt(r.Bytes, 10)+"B")
	}
	if len(parts) == 0 {
		return "off"
	}
	return strings.Join(parts, ",")
}

var sizes = []struct {
	unit  string
	bytes int64
}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// ParseRetention parses an age such as 90d, a size such as 10GB, both with a comma between them, or off.
func ParseRetention(text string) (r Retention, err error) {
	bad := errors.New("give an age such as 90d, a size such as 10GB, both as in 90d,10GB, or off")
	if text == "off" {
		return r, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if age, ok := api.ParseAgo(part); ok && r.Age == 0 {
			r.Age = age
			continue
		}
		n := int64(0)
		for _, s := range sizes {
			if digits, ok := strings.CutSuffix(part, s.unit); ok {
				if n, err = strconv.ParseInt(digits, 10, 64); err != nil || n < 1 || n > (1<<62)/s.bytes {
					return Retention{}, bad
				}
				n *= s.bytes
				break
			}
		}
		if n == 0 || r.Bytes != 0 {
			return Retention{}, bad
		}
		r.Bytes = n
	}
	return r, nil
}

// Expired returns the number of the newest event that r doesn't keep; 0: there is none. The newest event always stays.
func (l *Log) Expired(r Retention) (through int64, err error) {
	c, err := l.read()
	if errors.Is(err, errAltered) {
		return 0, nil // what can't be verified is evidence
	}
	if err != nil {
		return 0, err
	}
	if r.Age > 0 {
		err := l.Tx.QueryRow(`SELECT number - 1 FROM audit WHERE tenant_id = $1 AND at >= $2 ORDER BY at, seq LIMIT 1`,
			l.Tenant, l.Now.Add(-r.Age).UnixMicro()).Scan(&through)
		if errors.Is(err, sql.ErrNoRows) {
			through, err = c.number, nil
		}
		if err != nil {
			return 0, err
		}
	}
	// Traffic beyond its share is removed by pruneTraffic.
	surplus := c.bytes - max(c.trafficBytes-r.traffic(), 0) - r.Bytes
	if events := c.events(); r.Bytes > 0 && surplus > 0 && events > 0 {
		// By their average size; the rest is left for the next time.
		oldest := min(max(surplus/max(c.bytes/events, 1), 1), events)
		last := c.prunedNumber + oldest
		if c.trafficRemoved > 0 { // numbers are missing in between
			err := l.Tx.QueryRow(`SELECT number FROM audit WHERE tenant_id = $1 ORDER BY seq LIMIT 1 OFFSET $2`, l.Tenant, oldest-1).Scan(&last)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return 0, err
			}
		}
		through = max(through, last)
	}
	if through = min(through, c.number-1); through <= c.prunedNumber {
		return 0, nil
	}
	return through, nil
}

// Prune removes at most limit of the oldest events up to a number, except the newest one. It keeps the number and hash of the last
// removed event, so that the rest can still be verified, and returns how many it has removed. Errors: api.ErrConflict if the oldest
// events aren't those that the vault has written: they stay, as evidence.
func (l *Log) Prune(through int64, limit int) (removed int, err error) {
	c, err := l.open()
	if err != nil {
		return 0, err
	}
	if through > c.number {
		return 0, invalid("there is no event " + itoa(through) + " yet: the newest one is " + itoa(c.number))
	}
	through = min(through, c.number-1)
	rows, _, err := l.batch(-1<<63, limit)
	if err != nil {
		return 0, err
	}
	for i := range rows {
		r := &rows[i]
		if r.Seq > through {
			break
		}
		if r.Seq != c.prunedNumber+1 {
			if err := l.passGap(c); err != nil {
				return 0, err
			}
		}
		if !r.follows(c.prunedNumber, c.prunedHash) {
			return 0, notWritten(r)
		}
		c.prunedNumber, c.prunedHash = r.Seq, r.hash
		c.subtract(&r.Event)
		if err := l.Tx.Defer(`DELETE FROM audit WHERE seq = $1`, r.seq); err != nil {
			return 0, err
		}
		if err := l.eachSecret(&r.Event, deleteSecret, r.seq); err != nil {
			return 0, err
		}
		removed++
	}
	if removed == 0 {
		return 0, nil
	}
	if err := l.Tx.Exec(`DELETE FROM audit_repeats WHERE tenant_id = $1 AND number <= $2`, l.Tenant, c.prunedNumber); err != nil {
		return 0, err
	}
	return removed, l.save(c)
}

// notWritten is the error of an event that the vault hasn't written. It isn't removed: it is evidence.
func notWritten(r *eventRow) error {
	return api.NewError(api.ErrConflict, "event "+itoa(r.Seq)+" isn't the one that the vault has written: run miosa-vault audit verify")
}
