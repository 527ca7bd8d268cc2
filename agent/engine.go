// Package agent keeps the values of a resource current. Its Engine follows a Source, for the daemon of a machine and for a
// supervised command.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/memory"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// Config configures an Engine.
type Config struct {
	Resource api.Resource
	Source   Source       // required
	Cache    *cache.Cache // of the last set; nil: none
	// Fallback returns a source to ask after Source has failed with err, and the cache of its sets, or the error to report
	// instead of err. The sets of Source aren't cached then. Nil means no fallback.
	Fallback func(err error) (Source, *cache.Cache, error)
	Outputs  []Output // written at each change
	// Sleep watches for suspends of this machine until ctx ends: WatchSleep, or nil.
	Sleep func(ctx context.Context, wake func(reason string)) error
	// Heap leaves values in the memory that the source has allocated, for a process that passes them on and reports the error
	// of Follow. Otherwise they are moved to locked memory, and freed after a change, and a refusal is logged.
	Heap    bool
	Changes zerolog.Level // at which changes of the set and the state are logged; zero: debug
	Version string        // for the status
	Log     zerolog.Logger
}

// Engine follows one resource: it asks the source, keeps the last set and its cache, drops values that expire, and drops
// everything when the source refuses. Its methods may be called by any goroutine, except as noted.
type Engine struct {
	conf   Config
	now    atomic.Pointer[view]
	memory *memory.Sets // nil: see Config.Heap
	clock  clock
	asking asking        // used by First, then by the loop
	kept   kept          // used by First, then by the goroutine that keeps the cache
	saving chan struct{} // signals that the cache may have to change
	stale  chan struct{} // signals that superseded values can be freed
	ended  chan struct{} // closed when Run has ended

	mu        sync.Mutex // guards changes of now, and the fields below
	source    Source
	replaced  int // calls of Replace
	cache     *cache.Cache
	outlets   []*outlet
	tasks     sync.WaitGroup
	running   context.Context    //nolint:containedctx // of Run, for outputs that are set later; nil outside of Run
	interrupt context.CancelFunc // ends the wait of the loop; nil if it isn't waiting
	hurried   bool               // ask at once
	refreshes []chan error       // Refresh calls that no request answers yet
	quiet     time.Time          // the vault asked for no requests until then
	busy      *api.Error         // with which it asked
	woken     time.Time          // of the latest wake
	waking    *time.Timer        // of the next wake; nil: none
	due       time.Time          // the latest time at which the loop continues; zero: unknown
}

// ErrNoSet means that the vault hasn't answered since the start.
var ErrNoSet = api.NewError(api.ErrUnavailable, "the agent has no set yet: the vault hasn't answered")

// errEnded is the error of calls that are pending when Run ends.
var errEnded = api.NewError(api.ErrUnavailable, "the agent is stopping")

// New returns an engine. It makes no request before First or Run.
func New(c Config) (*Engine, error) {
	if err := c.Resource.Validate(); err != nil {
		return nil, err
	}
	if c.Source == nil {
		return nil, errors.New("an agent needs a source")
	}
	e := &Engine{
		conf: c, source: c.Source, cache: c.Cache,
		asking: asking{seen: versions{}}, kept: kept{cache: c.Cache},
		saving: make(chan struct{}, 1), stale: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if !c.Heap {
		e.memory = memory.NewSets(c.Log)
	}
	began := time.Now().UTC()
	e.now.Store(&view{changed: make(chan struct{}), status: Status{
		State: Starting, Since: began, Resource: c.Resource, StartedAt: began, PID: os.Getpid(), Version: c.Version,
		Vault: c.Source.Vault(),
	}})
	e.SetOutputs(c.Outputs)
	return e, nil
}

// LogTo replaces the log between First and Run, if Config.Heap is set.
func (e *Engine) LogTo(log zerolog.Logger) { e.conf.Log = log }

// Run follows the source until ctx ends. Then it removes the outputs that don't ask to be kept, and returns when
// everything it started has ended. It is called at most once.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.mu.Lock()
	e.running = ctx
	for _, o := range e.outlets {
		e.start(o)
	}
	e.mu.Unlock()
	var own sync.WaitGroup
	own.Go(func() { e.keepCache(ctx) })
	own.Go(func() { e.expire(ctx) })
	if !e.conf.Heap {
		own.Go(func() { e.collect(ctx) })
	}
	if e.conf.Sleep != nil {
		own.Go(func() {
			if err := e.conf.Sleep(ctx, e.Wake); err != nil {
				e.conf.Log.Warn().Err(err).Msg("suspend is not watched: the next failed request detects it")
			}
		})
	}
	e.loop(ctx)
	e.mu.Lock()
	e.running = nil // no output starts from here on
	e.cancelWake()
	close(e.ended)
	e.mu.Unlock()
	own.Wait()
	e.tasks.Wait()
	return nil
}

// Refresh asks the source now and returns its error, nil if it returned or confirmed a set. While the vault has asked for
// no requests it makes none, and returns an api.Error with the remaining time.
func (e *Engine) Refresh(ctx context.Context) error {
	answered := make(chan error, 1)
	e.mu.Lock()
	if left := time.Until(e.quiet); left > 0 {
		defer e.mu.Unlock()
		seconds := (left + time.Second - 1).Truncate(time.Second)
		return &api.Error{Kind: e.busy.Kind, RetryAfter: left,
			Message: fmt.Sprintf("the vault asked to be left alone for another %s: %s", seconds, e.busy.Message)}
	}
	e.refreshes = append(e.refreshes, answered)
	e.askAtOnce()
	e.mu.Unlock()
	select {
	case err := <-answered:
		return err
	case <-e.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Replace replaces source and cache, for example after a change of the key, and asks the new source at once. The current
// set stays until it answers. The old cache is wiped, unless the new one has the same path.
func (e *Engine) Replace(src Source, cache *cache.Cache) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.source, e.cache, e.quiet = src, cache, time.Time{}
	e.replaced++
	e.change(func(v *view) {
		if !v.serves() {
			v.status.Vault = src.Vault()
		}
	})
	e.askAtOnce()
	e.save()
}

// SetOnRevoke sets what the status says under OnRevoke: config.RevokeKeep or config.RevokeStop.
func (e *Engine) SetOnRevoke(what string) {
	e.publish(func(v *view) { v.status.OnRevoke = what })
}

// askAtOnce interrupts the loop, which then asks at once or as soon as the vault allows it. The caller holds mu.
func (e *Engine) askAtOnce() {
	e.hurried = true
	if e.interrupt != nil {
		e.interrupt()
	}
}
