package agent

import (
	"context"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
)

// Source returns the sets of one resource, from a vault (fetch.Source) or the agent on this machine (socket.Source). Next
// and Ask are called by one goroutine at a time, the other methods by any.
type Source interface {
	// Next returns the set: at once if etag is "", else as soon as it differs from the one that etag names. If there is no
	// change it returns api.ErrNotModified, at any time, and at once after a call that has failed.
	Next(ctx context.Context, etag string) (api.Snapshot, error)
	// Ask returns the set at once. It makes a single request, since the engine retries.
	Ask(ctx context.Context) (api.Snapshot, error)
	// Bindings lists the bindings of the resource, without values.
	Bindings(ctx context.Context) ([]api.Binding, error)
	// Vault returns the base URL of the vault in normal form, or "" if it isn't known.
	Vault() string
	// Placeholders reports whether the vault returns placeholders instead of values.
	Placeholders() bool
	// ClockSkew returns how far this machine's clock is ahead of the vault's, and whether that is known.
	ClockSkew() (time.Duration, bool)
	// Drop closes idle connections: after a suspend, the other end may have closed them.
	Drop()
}

// supplier is a source with the cache of its sets.
type supplier struct {
	Source
	cache    *cache.Cache // nil: none
	fallback bool         // see Config.Fallback
}

// fallback returns the source to ask after the engine's source has returned sourceErr. It returns false and an error if
// there is none, or if sourceErr isn't a failure.
func (e *Engine) fallback(ctx context.Context, sourceErr error) (supplier, bool, error) {
	if e.conf.Fallback == nil || sourceErr == nil || errors.Is(sourceErr, api.ErrNotModified) || ctx.Err() != nil {
		return supplier{}, false, sourceErr
	}
	src, cache, err := e.conf.Fallback(sourceErr)
	if err != nil {
		return supplier{}, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cache = cache
	return supplier{src, cache, true}, true, nil
}

// keeps reports whether the sets of a supplier are cached. The agent on this machine, which is asked before a fallback, has
// its own cache.
func (e *Engine) keeps(s supplier) bool { return e.conf.Fallback == nil || s.fallback }
