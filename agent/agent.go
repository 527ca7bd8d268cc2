package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// Config says what a daemon keeps fresh, and for whom.
type Config struct {
	Resource api.Resource
	// Source is the vault. Required. Agent.Replace exchanges it. Where it has them, these methods of
	// fetch.Source are used too: Ask, which gives the set at once with one request; Drop, which closes
	// connections nobody uses; Placeholders, which tells that no value is a secret; Vault, which names the vault.
	Source Source
	// Cache is where the set outlives a restart. Nil means none.
	Cache *Cache
	// Outputs are written at each change. None is fine.
	Outputs []Output
	// OnRevoke is called each time the vault begins to refuse, once nothing is served any more.
	// Nil means nothing to do. It must not block.
	OnRevoke func()
	// Sleep watches for this machine having slept, until its context ends: WatchSleep. Nil means that
	// nobody watches.
	Sleep func(ctx context.Context, wake func(reason string)) error
	// Version is told in the status.
	Version string
	Log     zerolog.Logger
}

// Agent is the daemon: one loop that asks the vault, one immutable set, and what follows from it.
// All its methods are for any goroutine.
type Agent struct {
	conf   Config
	now    atomic.Pointer[view]
	memory memory
	clock  clock
	pulse  pulse
	saving chan struct{} // told that the cache has something to do
	stale  chan struct{} // told that superseded values wait to be freed
	ended  chan struct{} // closed when Run has ended

	mu        sync.Mutex // guards changes of now, and the fields below
	source    Source
	replaced  int // how often source was exchanged
	cache     *Cache
	outlets   []*outlet
	tasks     sync.WaitGroup
	running   context.Context    //nolint:containedctx // of Run, for outputs that come later; nil outside of it
	interrupt context.CancelFunc // ends what the loop is waiting for; nil while it waits for nothing
	hurried   bool               // ask at once
	refreshes []chan error       // Refresh calls that nobody has asked for yet
	quiet     time.Time          // until then the vault wants to be left alone
	busy      *api.Error         // what it said
	woken     time.Time          // of the latest wake
	waking    *time.Timer        // of the wake that comes next; nil: none
}

// errEnded is what a call gets that nobody will answer any more.
var errEnded = errors.New("the agent has stopped")

// New makes a daemon. It asks nobody anything before Run.
func New(c Config) (*Agent, error) {
	if err := c.Resource.Validate(); err != nil {
		return nil, err
	}
	if c.Source == nil {
		return nil, errors.New("an agent needs a source")
	}
	a := &Agent{
		conf: c, source: c.Source, cache: c.Cache, memory: memory{log: c.Log},
		saving: make(chan struct{}, 1), stale: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	began := time.Now().UTC()
	a.now.Store(&view{changed: make(chan struct{}), status: Status{
		State: Starting, Since: began, Resource: c.Resource, StartedAt: began, PID: os.Getpid(), Version: c.Version,
		Vault: vaultOf(c.Source), Outputs: []OutputStatus{},
	}})
	a.SetOutputs(c.Outputs)
	return a, nil
}

// Run asks the vault and keeps all up to date until ctx ends. Then it removes the outputs that don't ask
// to be kept, and returns when everything it started has ended. It runs once.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.running = ctx
	for _, o := range a.outlets {
		a.start(o)
	}
	a.mu.Unlock()
	var own sync.WaitGroup
	first := a.cacheNow()
	own.Go(func() { a.persist(ctx, first) })
	own.Go(func() { a.collect(ctx) })
	own.Go(func() { a.expire(ctx) })
	if a.conf.Sleep != nil {
		own.Go(func() {
			if err := a.conf.Sleep(ctx, a.Wake); err != nil {
				a.conf.Log.Warn().Err(err).Msg("suspend isn't watched: it is noticed by the next request that fails")
			}
		})
	}
	a.loop(ctx)
	a.mu.Lock()
	a.running = nil // no output starts from here on
	a.sleepOn()
	close(a.ended)
	a.mu.Unlock()
	own.Wait()
	a.tasks.Wait()
	return nil
}

// Refresh asks the vault now and returns when it has answered: nil if it gave or confirmed a set, else
// what came instead. While the vault wants to be left alone it isn't asked: the error is an api.Error that
// says so, and for how long.
func (a *Agent) Refresh(ctx context.Context) error {
	answered := make(chan error, 1)
	a.mu.Lock()
	if left := time.Until(a.quiet); left > 0 {
		defer a.mu.Unlock()
		return &api.Error{Kind: a.busy.Kind, RetryAfter: left,
			Message: fmt.Sprintf("the vault asked to be left alone for another %s: %s", roundUp(left), a.busy.Message)}
	}
	a.refreshes = append(a.refreshes, answered)
	a.hurry()
	a.mu.Unlock()
	select {
	case err := <-answered:
		return err
	case <-a.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Replace takes another source and cache from now on, such as for a new key, and asks it at once. What
// is served stays until it answers. The old cache is wiped, unless the new one has its path.
func (a *Agent) Replace(src Source, cache *Cache) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.source, a.cache, a.quiet = src, cache, time.Time{}
	a.replaced++
	a.change(func(v *view) {
		if !v.serves() {
			v.status.Vault = vaultOf(src)
		}
	})
	a.hurry()
	a.save()
}

// vaultOf is the base URL of the vault that a source asks, empty where it doesn't say.
func vaultOf(src Source) string {
	if named, ok := src.(interface{ Vault() string }); ok {
		return named.Vault()
	}
	return ""
}

// SetOnRevoke notes what becomes of the commands that follow this daemon once the vault refuses:
// RevokeKeep or RevokeStop. The daemon tells them in its status, and does nothing to them itself.
func (a *Agent) SetOnRevoke(what string) {
	a.publish(func(v *view) { v.status.OnRevoke = what })
}

// Wake has the vault asked at once, but for the time it wants to be left alone, over new connections, since
// the old ones may be dead and the set old: this machine slept, was cloned, or its clock was set. For a
// while after it failures are retried faster.
//
// Wakes that come within wakeApart of the last one are together one more, at its end. None is lost: the
// time that this measures stands still while a virtual machine is paused, so what looks like a second
// word for the same wake may be the first after another pause.
func (a *Agent) Wake(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := wakeApart - time.Since(a.woken)
	switch {
	case a.woken.IsZero() || wait <= 0:
		a.wake(reason)
	case a.waking == nil && a.running != nil:
		a.waking = time.AfterFunc(wait, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.waking != nil {
				a.wake(reason)
			}
		})
	}
}

// wake is Wake for who holds mu.
func (a *Agent) wake(reason string) {
	a.sleepOn()
	a.woken = time.Now()
	a.conf.Log.Info().Str("reason", reason).Msg("asking the vault again at once")
	a.hurry()
	a.change(func(v *view) { v.status.Counts.Wakes++ })
}

// sleepOn forgets the wake that is to come. The caller holds mu.
func (a *Agent) sleepOn() {
	if a.waking != nil {
		a.waking.Stop()
		a.waking = nil
	}
}

// hurry has the loop ask at once, or as soon as the vault may be asked. The caller holds mu.
func (a *Agent) hurry() {
	a.hurried = true
	if a.interrupt != nil {
		a.interrupt()
	}
}
