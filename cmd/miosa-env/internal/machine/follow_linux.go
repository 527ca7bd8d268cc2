package machine

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/keyfile"
)

// refusalPause is the longest pause between requests to a source that refuses.
const refusalPause = 30 * time.Second

// follow sends the command of each changed set to changes, until ctx ends or the source refuses permanently. It returns what
// to do with the command then.
func (r *runner) follow(ctx context.Context, f *runFlags, changes chan<- command.Command) string {
	engine, log := r.supply.engine, r.Log
	if !r.watches(f) { // changes don't matter, only what the agent says about a revocation
		r.supply.only, log = true, zerolog.Nop()
	}
	engine.LogTo(log)
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Run(ctx) })
	defer running.Wait()
	defer stop()
	logged := false // the present refusal
	for {
		start := time.Now()
		err := engine.Follow(ctx, r.first.Etag, func(s api.Snapshot) { r.take(ctx, s, changes) })
		if err == nil {
			return config.RevokeKeep
		}
		what := r.onRevoke(ctx)
		switch {
		case what == config.RevokeStop:
			r.Log.Error().Err(err).Msg("key refused: stopping command")
			return what
		case !r.supply.recovers():
			log.Error().Err(err).Msg("key refused: command keeps its values and gets no changes")
			return what
		}
		if logged = logged && time.Since(start) < refusalPause/2; !logged {
			log.Error().Err(err).Msg("key refused: command keeps its values until the key is replaced")
			logged = true
		}
		r.supply.retry(ctx)
		if ctx.Err() != nil {
			return what
		}
	}
}

// take sends the command of a set to changes, unless the command wouldn't see a difference or the set is invalid.
func (r *runner) take(ctx context.Context, s api.Snapshot, changes chan<- command.Command) {
	r.first = s
	if !r.follows {
		return
	}
	command, seen, err := r.build(s)
	switch {
	case err != nil:
		r.Log.Error().Err(err).Msg("set rejected: command keeps its values")
		return
	case maps.Equal(seen, r.seen):
		r.Log.Debug().Msg("change does not affect command")
		return
	}
	r.seen = seen
	select {
	case changes <- command:
	case <-ctx.Done():
	}
}

// onRevoke returns what to do with the command after a revocation: what the setting says, otherwise what the agent says.
func (r *runner) onRevoke(ctx context.Context) string {
	s := r.supply
	if r.Settings.OnRevoke != "" || !s.hasAgent() {
		return r.Settings.OnRevoke
	}
	status, err := s.client.Status(ctx)
	switch {
	case err != nil:
		r.Log.Debug().Err(err).Msg("agent does not state its on_revoke: command is kept")
	case !s.servedBy(status):
		return ""
	}
	return status.OnRevoke
}

// retry makes another request after a refusal, once the key file holds another key or the agent has values, at the latest
// after refusalPause.
func (s *supply) retry(ctx context.Context) {
	for start := time.Now(); time.Since(start) < refusalPause; {
		if delay.Sleep(ctx, keyfile.Poll) != nil {
			return
		}
		if s.engine.Status().State != agent.Refused || s.changed(ctx) {
			break
		}
	}
	_ = s.engine.Refresh(ctx) // after an error the engine is still in the state Refused
}

// changed reports whether a source that refused may have a set now.
func (s *supply) changed(ctx context.Context) bool {
	s.mu.Lock()
	vault, key := s.vault, s.key
	s.mu.Unlock()
	if vault != nil && key.Differs(vault.Key()) {
		return true
	}
	if !s.hasAgent() {
		return false
	}
	status, err := s.client.Status(ctx)
	return err == nil && s.servedBy(status) && (status.State == agent.Fresh || status.State == agent.Stale)
}

// servedBy reports whether an agent serves the resource and the vault of this command.
func (s *supply) servedBy(status agent.Status) bool {
	return status.Resource == s.resource && OtherVault(status, s.named) == nil
}
