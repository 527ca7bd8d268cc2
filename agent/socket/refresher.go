package socket

import (
	"context"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	refreshInterval = time.Second // the least time from the start of one request to that of the next
	refreshTimeout  = 30 * time.Second
)

// refresher has the engine ask the vault for all clients that want it, with one request at a time. Clients that come
// during a request share the next one.
type refresher struct {
	refresh func(context.Context) error

	mu   sync.Mutex // guards the fields below
	next *refresh   // that a client can join; nil: none
	last *refresh   // the latest; nil: none
}

// refresh is one request for several clients.
type refresh struct {
	done  chan struct{} // closed at its end
	began time.Time     // readable once done, as is err
	err   error
}

// do asks the vault, or joins the request that comes next. It returns at its end or that of ctx. The request itself ends
// with serving, and is one of tasks.
func (r *refresher) do(ctx, serving context.Context, tasks *sync.WaitGroup) error {
	r.mu.Lock()
	f := r.next
	if f == nil {
		f = &refresh{done: make(chan struct{})}
		before := r.last
		r.next, r.last = f, f
		tasks.Go(func() { r.run(serving, f, before) })
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *refresher) run(ctx context.Context, f, before *refresh) {
	defer close(f.done)
	if before != nil {
		<-before.done
		_ = delay.Sleep(ctx, time.Until(before.began.Add(refreshInterval)))
	}
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	f.began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	f.err = r.refresh(ctx)
}
