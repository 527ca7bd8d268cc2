package machine

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/command"
)

// follow passes changes on until ctx ends, or the source refuses for good. It returns what is to become of the command
// then.
func (r *runner) follow(ctx context.Context, f *runFlags, changes chan<- command.Command) string {
	engine, log := r.supply.engine, r.Log
	if !r.watches(f) { // changes aren't asked for: only what the agent says of a revocation counts
		r.supply.only, log = true, zerolog.Nop()
	}
	engine.LogTo(log)
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Run(ctx) })
	defer running.Wait()
	defer stop()
	logged := false // the refusal that lasts
	for {
		began := time.Now()
		err := engine.Follow(ctx, r.first.Etag, (&follower{r, ctx, changes}).take)
		if err == nil {
			return config.RevokeKeep
		}
		what := r.onRevoke(ctx, f)
		switch {
		case what == config.RevokeStop:
			r.Log.Error().Err(err).Msg("key refused: stopping command")
			return what
		case !r.supply.recovers():
			log.Error().Err(err).Msg("key refused: command keeps its values and gets no changes")
			return what
		}
		if logged = logged && time.Since(began) < againAfter/2; !logged {
			log.Error().Err(err).Msg("key refused: command keeps its values until the key is replaced")
			logged = true
		}
		r.supply.retry(ctx)
		if ctx.Err() != nil {
			return what
		}
	}
}

// againAfter is how long a vault or an agent that refuses isn't asked, if nothing has changed.
const againAfter = 30 * time.Second

// retry asks again after a refusal, as soon as that is worthwhile: when the key's file holds another key or the agent
// serves again, or after againAfter. It returns when there is an answer.
func (s *supply) retry(ctx context.Context) {
	end, check := time.NewTimer(againAfter), time.NewTicker(program.KeyPoll)
	defer end.Stop()
	defer check.Stop()
	for again := false; !again; {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			again = true
		case <-check.C:
			again = s.engine.Status().State != agent.Refused || s.changed(ctx)
		}
	}
	_ = s.engine.Refresh(ctx) // if it fails, the engine is still in the state Refused
}

// changed reports whether a source that refused may give a set now.
func (s *supply) changed(ctx context.Context) bool {
	s.mu.Lock()
	remote, vault, asksAgent := s.remote, s.vault, s.asksAgent()
	s.mu.Unlock()
	if remote != nil && s.Settings.Differs(vault.key, vault.Key()) {
		return true
	}
	if !asksAgent {
		return false
	}
	status, err := s.client.Status(ctx)
	return err == nil && s.servedBy(status) && (status.State == agent.Fresh || status.State == agent.Stale)
}

// servedBy reports whether an agent serves the resource and the vault that are meant.
func (s *supply) servedBy(status agent.Status) bool {
	return status.Resource == s.resource && OtherVault(status, s.named) == nil
}

// onRevoke is what becomes of the command after a revocation: what the flag says, else the agent.
func (r *runner) onRevoke(ctx context.Context, f *runFlags) string {
	s := r.supply
	s.mu.Lock()
	asksAgent := s.asksAgent()
	s.mu.Unlock()
	if r.Settings.OnRevoke != "" || !asksAgent {
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

// follower takes the sets of a supervised command.
type follower struct {
	*runner
	ctx     context.Context // ends the one send that could block
	changes chan<- command.Command
}

// take passes on what to run from now on, if it differs in what the command sees. A set that is refused changes
// nothing.
func (f *follower) take(s api.Snapshot) {
	f.first = s
	if !f.follows {
		return
	}
	command, seen, err := f.build(s)
	if err != nil {
		f.Log.Error().Err(err).Msg("set rejected: command keeps its values")
		return
	}
	if seen == f.seen {
		f.Log.Debug().Msg("change does not affect command")
		return
	}
	f.seen = seen
	select {
	case f.changes <- command:
	case <-f.ctx.Done():
	}
}
