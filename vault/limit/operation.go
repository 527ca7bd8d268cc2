package limit

import (
	"context"
	"runtime"
)

// largeBytes is the size of what an operation reads or writes from which on it is large: it takes milliseconds of a processor.
const largeBytes = 64 << 10

// countedBytes is the size of what a change writes that counts as one more change: it all goes to the disk twice.
const countedBytes = 16 << 10

// smallTurns is how many small operations of a tenant run at the same time. As many share one commit.
const smallTurns = 64

// wokenTurns is how many reveals of a tenant run at the same time that have waited for a change. When half of these turns are free, others
// get them together, so that their reads and their events share transactions, and one transaction is under way while others are sealed.
const wokenTurns = 128

// Operations limits what a tenant does with the store. With the tenant "", which is the operator's, everything is allowed.
type Operations struct {
	Values        *Values
	tenantWrites  *Rate
	writes        *Rate
	tenantEvents  *Rate
	events        *Rate
	tenantTraffic *Rate
	traffic       *Rate
	small, large  *Turns
	woken         *Turns
}

// NewOperations returns the limits of a store.
func NewOperations(v *Values) *Operations {
	return &Operations{
		Values:       v,
		tenantWrites: NewRate(v, TenantWrites, 0), writes: NewRate(v, Writes, 0),
		tenantEvents: NewRate(v, TenantEvents, 0), events: NewRate(v, Events, 0),
		tenantTraffic: NewRate(v, TenantTraffic, 0), traffic: NewRate(v, Traffic, 0),
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
func (o *Operations) Event(tenant string) error {
	if tenant == "" {
		return nil
	}
	if err := o.tenantEvents.Take(tenant, 1); err != nil {
		return err
	}
	return o.events.Take("", 1)
}

// Traffic counts reports of n outgoing requests before they are recorded. Errors: ErrRateLimited.
func (o *Operations) Traffic(tenant string, n int) error {
	if tenant == "" {
		return nil
	}
	if err := o.tenantTraffic.Take(tenant, n); err != nil {
		return err
	}
	return o.traffic.Take("", n)
}

// Write counts a change of a number of bytes before it is made. Errors: ErrRateLimited.
func (o *Operations) Write(tenant string, bytes int) error {
	if tenant == "" {
		return nil
	}
	n := 1 + bytes/countedBytes
	if err := o.tenantWrites.Take(tenant, n); err != nil {
		return err
	}
	return o.writes.Take("", n)
}

// Written counts the bytes of a change that was made, beside the change itself.
func (o *Operations) Written(tenant string, bytes int) { o.Touched(tenant, 0, bytes/countedBytes) }

// perMore is the number of bindings or keys that count as one more change, or event.
const perMore = 64

// Listed counts the bindings that an event lists.
func (o *Operations) Listed(tenant string, bindings int) {
	if n := bindings / perMore; n > 0 && tenant != "" {
		o.tenantEvents.Charge(tenant, n)
	}
}

// Touched counts the bindings and keys that a change has read, and the rows that it has written beside the one that it is about.
func (o *Operations) Touched(tenant string, read, rows int) {
	if n := read/perMore + rows; n > 0 && tenant != "" {
		o.tenantWrites.Charge(tenant, n)
	}
}
