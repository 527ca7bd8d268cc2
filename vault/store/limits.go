package store

import (
	"context"
	"runtime"

	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// largeBytes is the size of a request or an answer from which on it is large: it takes milliseconds of a processor.
const largeBytes = 64 << 10

// limits keep a tenant from taking the store from others. The operator and the vault itself have none.
type limits struct {
	values       *limit.Values
	tenantWrites *limit.Rate
	writes       *limit.Rate
	tenantEvents *limit.Rate
	events       *limit.Rate
	small, large *limit.Turns // of operations, by tenant
}

// smallTurns is how many operations of a tenant run at the same time. As many share one commit.
const smallTurns = 16

func newLimits(v limit.Values) limits {
	values := &v
	return limits{
		values:       values,
		tenantWrites: limit.NewRate(values, limit.TenantWrites, 0), writes: limit.NewRate(values, limit.Writes, 0),
		tenantEvents: limit.NewRate(values, limit.TenantEvents, 0), events: limit.NewRate(values, limit.Events, 0),
		small: limit.NewTurns(smallTurns), large: limit.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// exempt reports whether the actor has no limits.
func (a Actor) exempt() bool { return a.local || a.TenantID == "" }

// turn waits until the actor's tenant may run an operation that reads or writes a number of bytes, until the caller ends it.
func (l *limits) turn(ctx context.Context, a Actor, bytes int) (end func(), err error) {
	if a.exempt() {
		return func() {}, nil
	}
	if bytes >= largeBytes {
		return l.large.Take(ctx, a.TenantID)
	}
	return l.small.Take(ctx, a.TenantID)
}

// event counts an audit event before it is written. Errors: ErrRateLimited.
func (l *limits) event(a Actor) error {
	if a.exempt() {
		return nil
	}
	if err := l.tenantEvents.Take(a.TenantID, 1); err != nil {
		return err
	}
	return l.events.Take("", 1)
}

// write counts a change of a number of bytes before it is made. Errors: ErrRateLimited.
func (l *limits) write(a Actor, bytes int) error {
	if a.exempt() {
		return nil
	}
	n := 1 + bytes/largeBytes
	if err := l.tenantWrites.Take(a.TenantID, n); err != nil {
		return err
	}
	return l.writes.Take("", n)
}
