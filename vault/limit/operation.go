package limit

import (
	"context"
	"runtime"
)

// largeBytes is the size of what an operation reads or writes from which on it is large: it takes milliseconds of a processor.
const largeBytes = 64 << 10

// countedBytes is how many bytes that a change writes count as one more change. All of them go to the disk twice.
const countedBytes = 16 << 10

// smallTurns is how many small operations of a tenant run at the same time. So many can share one commit.
const smallTurns = 64

// wokenTurns is how many reveals of a tenant run at the same time that have waited for a change. When half of these turns are free, others
// get them together, so that their reads and their events share transactions, and one transaction is under way while others are sealed.
const wokenTurns = 128

// Operations limits what a tenant does with the store. With the tenant "", which is the operator's, everything is allowed.
type Operations struct {
	Values                  *Values
	writes, events, traffic rates
	small, large, woken     *Turns
}

// rates limit how much each tenant does, and all of them together.
type rates struct{ tenant, all *Rate }

func newRates(v *Values, tenant, all ID) rates {
	return rates{NewRate(v, tenant, 0), NewRate(v, all, 0)}
}

// take takes n of a tenant and of all tenants. Errors: ErrRateLimited.
func (r rates) take(tenant string, n int) error {
	if tenant == "" {
		return nil
	}
	if err := r.tenant.Take(tenant, n); err != nil {
		return err
	}
	return r.all.Take("", n)
}

// charge takes n of a tenant even if there are fewer.
func (r rates) charge(tenant string, n int) {
	if n > 0 && tenant != "" {
		r.tenant.Charge(tenant, n)
	}
}

// NewOperations returns the limits of a store.
func NewOperations(v *Values) *Operations {
	return &Operations{
		Values: v,
		writes: newRates(v, TenantWrites, Writes), events: newRates(v, TenantEvents, Events), traffic: newRates(v, TenantTraffic, Traffic),
		small: newTurns(smallTurns), large: newTurns(max(1, runtime.GOMAXPROCS(0)/2)),
		woken: &Turns{limit: wokenTurns, atOnce: wokenTurns / 2, names: map[string]*turns{}},
	}
}

// Woken waits until the tenant may run a small operation of a request that has waited for a change, until the caller ends it.
// Errors: ctx's own.
func (o *Operations) Woken(ctx context.Context, tenant string) (end func(), err error) {
	return o.woken.Take(ctx, tenant)
}

// Turn waits until the tenant may run an operation that reads or writes a number of bytes, until the caller ends it.
// Errors: ctx's own.
func (o *Operations) Turn(ctx context.Context, tenant string, bytes int) (end func(), err error) {
	switch {
	case tenant == "":
		return func() {}, nil
	case bytes >= largeBytes:
		return o.large.Take(ctx, tenant)
	}
	return o.small.Take(ctx, tenant)
}

// Event counts an audit event before it is written. Errors: ErrRateLimited.
func (o *Operations) Event(tenant string) error { return o.events.take(tenant, 1) }

// Traffic counts reports of n outgoing requests before they are recorded. Errors: ErrRateLimited.
func (o *Operations) Traffic(tenant string, n int) error { return o.traffic.take(tenant, n) }

// Write counts a change of a number of bytes before it is made. Errors: ErrRateLimited.
func (o *Operations) Write(tenant string, bytes int) error {
	return o.writes.take(tenant, 1+bytes/countedBytes)
}

// Written counts the bytes of a change that was counted before as one without any.
func (o *Operations) Written(tenant string, bytes int) { o.Touched(tenant, 0, bytes/countedBytes) }

// countedRows is how many bindings or keys count as one more change, or event.
const countedRows = 64

// Listed counts the bindings that an event lists.
func (o *Operations) Listed(tenant string, bindings int) {
	o.events.charge(tenant, bindings/countedRows)
}

// Touched counts the bindings and keys that a change has read, and the rows that it has written in addition to the one that it is
// about.
func (o *Operations) Touched(tenant string, read, rows int) {
	o.writes.charge(tenant, read/countedRows+rows)
}
