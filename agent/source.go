package agent

import (
	"context"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
)

// Source gives the sets of one resource: a vault, or the agent on this machine. fetch.Source and socket.Source are
// Sources. Next and Ask are called by one goroutine at a time; the other methods may be called by any.
type Source interface {
	// Next returns the set: at once if etag is "", else as soon as it differs from the one that etag names. It may
	// return api.ErrNotModified at any time to say that the set stands, and does so at once after a call that ended
	// with an error.
	Next(ctx context.Context, etag string) (api.Snapshot, error)
	// Ask returns the set at once, with a single request: the engine retries.
	Ask(ctx context.Context) (api.Snapshot, error)
	// Bindings lists what is bound to the resource, without values.
	Bindings(ctx context.Context) ([]api.Binding, error)
	// Vault is the base URL of the vault, in its normal form; empty if it isn't known.
	Vault() string
	// Placeholders reports whether the vault gives placeholders instead of values.
	Placeholders() bool
	// ClockSkew is how far this machine's clock is ahead of the vault's, and whether that is known.
	ClockSkew() (time.Duration, bool)
	// Drop closes connections that no call is using, such as those that a suspended machine's peers have closed.
	Drop()
}

// supplier is a source and where its sets are kept.
type supplier struct {
	Source
	cache    *cache.Cache // nil: there is none
	fallback bool         // it was asked because the engine's source failed
}

// failed reports whether an error says neither that there is a set nor that the set stands.
func failed(err error) bool { return err != nil && !errors.Is(err, api.ErrNotModified) }

// instead returns the fallback after the engine's source has failed. It returns false if there is none to ask, and
// why.
func (e *Engine) instead(ctx context.Context, why error) (supplier, bool, error) {
	if e.conf.Fallback == nil || !failed(why) || ctx.Err() != nil {
		return supplier{}, false, why
	}
	src, cache, err := e.conf.Fallback(why)
	if err != nil {
		return supplier{}, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cache = cache
	return supplier{src, cache, true}, true, nil
}

// keeps reports whether a supplier's sets belong into the engine's cache. An agent on this machine, which is asked
// before a fallback, has a cache of its own.
func (e *Engine) keeps(s supplier) bool { return e.conf.Fallback == nil || s.fallback }
