package revocation

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Retention is how long, and how many, of each tenant's ended keys are kept. The zero Retention keeps all.
type Retention struct {
	Age   time.Duration // since the end; 0: any
	Count int           // of each tenant, the newest ones; 0: any number
}

// ParseRetention parses an age such as 90d, a number such as 5000, both with a comma between them, or off.
func ParseRetention(text string) (r Retention, err error) {
	bad := errors.New("give an age such as 90d, a number such as 5000, both as in 90d,5000, or off")
	if text == "off" {
		return r, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if age, ok := api.ParseAgo(part); ok && r.Age == 0 {
			r.Age = age
			continue
		}
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || r.Count != 0 {
			return Retention{}, bad
		}
		r.Count = n
	}
	return r, nil
}

// surplus returns the ids of the entries that r doesn't keep. Entries whose tenant is unknown are removed by age only.
func (r Retention) surplus(entries map[string]entry, now time.Time) (ids []string) {
	newest := map[string][]string{} // by tenant, those that have ended and aren't too old
	for id, e := range entries {
		switch end := time.UnixMicro(e.end); {
		case end.After(now):
		case r.Age > 0 && now.Sub(end) > r.Age:
			ids = append(ids, id)
		case e.tenant != "":
			newest[e.tenant] = append(newest[e.tenant], id)
		}
	}
	for _, of := range newest {
		if r.Count == 0 || len(of) <= r.Count {
			continue
		}
		slices.SortFunc(of, func(a, b string) int { return cmp.Or(cmp.Compare(entries[a].end, entries[b].end), cmp.Compare(a, b)) })
		ids = append(ids, of[:len(of)-r.Count]...)
	}
	return ids
}
