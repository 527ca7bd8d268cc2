package limit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// memoryWait is how long a request waits for memory.
const memoryWait = 5 * time.Second

// Budget is the memory that bodies and answers of all tenants may take. A request that needs more than there is waits. What a
// tenant has in use is at most its share, and at most what it leaves free: the more others use, the less it may, and there is
// always some left for a further tenant. Only a tenant's first request may take more, if a quarter of all memory stays free.
type Budget struct {
	values        *Values
	total, tenant int64

	mu      sync.Mutex // guards the fields below
	used    int64
	of      map[string]int64 // used, by tenant
	waiting []*claim         // in order
}

// claim is a request that waits for memory.
type claim struct {
	tenant string
	bytes  int64
	given  chan struct{} // closed when it has the memory
}

// NewBudget returns the budget of Memory and TenantMemory.
func NewBudget(v *Values) *Budget {
	return &Budget{values: v, total: int64(max(1, v.Of(Memory))), tenant: int64(max(1, min(v.Of(TenantMemory), v.Of(Memory)))), of: map[string]int64{}}
}

// Share is the memory of one request; nil has no limit. It is not safe for concurrent use.
type Share struct {
	budget *Budget
	tenant string
	bytes  int64
}

// Share returns an empty share of a tenant.
func (b *Budget) Share(tenant string) *Share { return &Share{budget: b, tenant: tenant} }

// Used returns the memory that is in use.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Grow makes the share at least bytes, at most a tenant's, and waits up to 5 seconds for that. A share that waits gives up what
// it has, so that two shares don't wait for each other.
// Errors: ErrRateLimited; ctx's own.
func (s *Share) Grow(ctx context.Context, bytes int64) error {
	if s == nil {
		return nil
	}
	b := s.budget
	if bytes = min(bytes, b.tenant); bytes <= s.bytes {
		return nil
	}
	b.mu.Lock()
	c := &claim{s.tenant, bytes, make(chan struct{})}
	b.give(s.tenant, s.bytes)
	s.bytes = 0
	if b.fits(c) {
		b.take(c)
		s.bytes = bytes
		b.mu.Unlock()
		return nil
	}
	b.waiting = append(b.waiting, c)
	b.next()
	b.mu.Unlock()
	timeout := time.NewTimer(memoryWait)
	defer timeout.Stop()
	var err error
	select {
	case <-c.given:
		s.bytes = bytes
		return nil
	case <-timeout.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, c)
	if i < 0 { // it was given at the same time
		s.bytes = bytes
		return nil
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	id := Memory
	if b.of[s.tenant]+bytes > b.tenant {
		id = TenantMemory
	}
	b.next()
	if err != nil {
		return err
	}
	return b.values.refuse(api.ErrRateLimited, id, time.Second)
}

// Hold makes the share at least bytes without waiting, for memory that is in use already. Later requests wait for it.
func (s *Share) Hold(bytes int64) {
	if s == nil || bytes <= s.bytes {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.give(s.tenant, s.bytes)
	s.bytes = bytes
	b.take(&claim{tenant: s.tenant, bytes: bytes})
}

// Release gives back the memory of the share.
func (s *Share) Release() {
	if s == nil || s.bytes == 0 {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.give(s.tenant, s.bytes)
	s.bytes = 0
	b.next()
}

// fits reports whether a claim can have its memory now, without overtaking an earlier one of the same tenant, or of one that
// would have no more. The caller holds mu.
func (b *Budget) fits(c *claim) bool {
	have, free := b.of[c.tenant]+c.bytes, b.total-b.used-c.bytes
	first := b.of[c.tenant] == 0 && free >= b.total/4
	if have > b.tenant || free < 0 || have > free && !first {
		return false
	}
	for _, earlier := range b.waiting {
		if earlier == c {
			break
		}
		if earlier.tenant == c.tenant || b.of[earlier.tenant]+earlier.bytes <= have {
			return false
		}
	}
	return true
}

// next gives memory to the claims that can have it. The caller holds mu.
func (b *Budget) next() {
	for i := 0; i < len(b.waiting); {
		c := b.waiting[i]
		if !b.fits(c) {
			i++
			continue
		}
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.take(c)
		close(c.given)
	}
}

func (b *Budget) take(c *claim) {
	b.used += c.bytes
	b.of[c.tenant] += c.bytes
}

func (b *Budget) give(tenant string, bytes int64) {
	b.used -= bytes
	if b.of[tenant] -= bytes; b.of[tenant] == 0 {
		delete(b.of, tenant)
	}
}
