package limit

import (
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Places limits how many operations each name has at the same time, or how many there are in total.
type Places struct {
	values *Values
	id     ID

	mu    sync.Mutex // guards taken
	taken map[string]int
}

// NewPlaces returns the places of a limit.
func NewPlaces(v *Values, id ID) *Places { return &Places{values: v, id: id, taken: map[string]int{}} }

// Acquire takes a place of name, until release. Errors: ErrRateLimited if name has no more.
func (p *Places) Acquire(name string) (release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if float64(p.taken[name]+1) > max(1, p.values.Of(p.id)) {
		return nil, p.values.refuse(api.ErrRateLimited, p.id, time.Second)
	}
	p.taken[name]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.taken[name]--; p.taken[name] == 0 {
			delete(p.taken, name)
		}
	}, nil
}
