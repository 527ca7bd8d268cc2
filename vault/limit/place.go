package limit

import (
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Places limits how many operations each name has at the same time.
type Places struct {
	values *Values
	id     ID // the limit of each name
	all    ID // the limit of all names together; -1: none

	mu    sync.Mutex // guards the fields below
	taken map[string]int
	sum   int
}

// newPlaces returns Places with a limit for each name.
func newPlaces(v *Values, id ID) *Places {
	return &Places{values: v, id: id, all: -1, taken: map[string]int{}}
}

// newShares returns Places with a limit for each name and one for all names together. No name gets more places than it leaves free,
// so that there are some for a further name.
func newShares(v *Values, id, all ID) *Places {
	p := newPlaces(v, id)
	p.all = all
	return p
}

// Acquire takes a place of name, until release. Errors: ErrRateLimited if name has no more.
func (p *Places) Acquire(name string) (release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := float64(p.taken[name] + 1)
	if have > max(1, p.values.Of(p.id)) {
		return nil, p.values.refuse(api.ErrRateLimited, p.id, time.Second)
	}
	if p.all >= 0 && have > max(1, p.values.Of(p.all))-float64(p.sum) {
		return nil, p.values.refuse(api.ErrRateLimited, p.all, time.Second)
	}
	p.taken[name]++
	p.sum++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sum--
		if p.taken[name]--; p.taken[name] == 0 {
			delete(p.taken, name)
		}
	}, nil
}

// inUse returns the number of places that are taken.
func (p *Places) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sum
}
