package daemon

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/credential"
	"github.com/Miosa-osa/miosa-env/agent/socket"

	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/keyfile"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// generation is a daemon's work for one resource. Everything else of its configuration can change while it runs.
type generation struct {
	*daemon
	agent *agent.Engine
	parts
}

// parts are what is made from a configuration. Consecutive configurations share the parts that don't change.
type parts struct {
	conf        *daemonConfig
	client      *fetch.Client
	source      *fetch.Source
	cache       *cache.Cache // nil: none
	outputs     outputs
	socket      *served[*socket.Server]
	credentials *served[*credential.Server] // nil: none
	metrics     *task.Task                  // nil: none
}

// close closes the parts that others don't share.
func (p parts) close(others parts) {
	if p.metrics != others.metrics {
		p.metrics.Close()
	}
	if p.credentials != others.credentials {
		p.credentials.close()
	}
	if p.socket != others.socket {
		p.socket.close()
	}
	p.outputs.close(others.outputs)
	if p.client != nil && p.client != others.client {
		p.client.Close()
	}
}

// run works until ctx ends. It returns early with the next configuration if that is for another resource.
func (g *generation) run(ctx context.Context, conf *daemonConfig) (next *daemonConfig, err error) {
	if g.parts, err = g.build(ctx, conf); err != nil {
		return nil, err
	}
	defer func() { g.close(parts{}) }()
	engine := task.Start(ctx, func(ctx context.Context) { _ = g.agent.Run(ctx) })
	defer engine.Close()
	g.watch()
	g.Log.Info().Str("resource", conf.resource.String()).Str("socket", conf.Socket).Int("outputs", len(g.outputs)).
		Bool("cache", g.cache != nil).Str("version", g.Version).Msg("agent started")
	g.manager.Beat(g.agent)
	for {
		var next *daemonConfig
		changed := g.agent.Changed() // before the state is read, so that no change is missed
		var poll <-chan time.Time    // of the key file, whose file system may not report changes
		if g.agent.Status().State == agent.Refused {
			poll = time.After(keyfile.Poll)
		}
		g.manager.Update(g.agent)
		select {
		case <-ctx.Done():
			g.Log.Info().Msg("agent stopping")
			g.manager.Stopping()
			return nil, nil
		case <-changed:
		case <-poll:
			if g.conf.key.Differs(g.conf.key.Key) {
				next = g.reload()
			}
		case <-g.rekeyed:
			next = g.reload()
		case <-g.manager.Tick():
			g.manager.Beat(g.agent)
		case <-g.hangups:
			g.socket.restore(g.Log)
			g.credentials.restore(g.Log)
			if next = g.reload(); next != nil {
				g.Log.Info().Msg("HUP received: rereading configuration, key and CA")
			}
		case paths := <-g.changed:
			if g.restore(paths) {
				next = g.reload()
			}
		}
		switch {
		case next == nil:
		case next.resource != g.conf.resource:
			g.Log.Info().Str("resource", next.resource.String()).Msg("resource changed: restarting")
			return next, nil
		default:
			if err := g.take(ctx, next); err != nil {
				g.refuse(err)
			}
		}
	}
}

// restore restores sockets and outputs at paths that have changed, and reports whether there are other paths.
func (g *generation) restore(paths []string) (others bool) {
	own, credentials := g.conf.Socket, credential.Path(g.conf.Socket)
	if slices.Contains(paths, own) {
		g.socket.restore(g.Log)
	}
	if slices.Contains(paths, credentials) {
		g.credentials.restore(g.Log)
	}
	g.outputs.mend(paths, g.agent, g.Log)
	return slices.ContainsFunc(paths, func(path string) bool {
		return g.outputs[path] == nil && path != own && path != credentials
	})
}

func (g *generation) watch() {
	if g.watcher != nil {
		g.watcher.Set(g.conf.watched(g.at))
	}
}

// build makes the parts of a configuration, and the engine if there is none yet. After an error nothing has changed.
func (g *generation) build(ctx context.Context, conf *daemonConfig) (next parts, err error) {
	old, first := g.parts, g.agent == nil
	next = old
	next.conf = conf
	defer func() {
		if err != nil {
			next.close(old)
		}
	}()
	if first || !conf.sameVault(old.conf) {
		if next.client, err = fetch.New(g.config(conf)); err != nil {
			return next, err
		}
		next.source = next.client.Source(conf.resource)
	}
	if first || !conf.sameCache(old.conf) {
		if next.cache = nil; conf.Cache {
			if next.cache, err = conf.NewCache(g.Environ, conf.key, conf.resource, nil); err != nil {
				return next, err
			}
		}
	}
	if next.outputs, err = old.outputs.renew(conf.outputs, g.orphans, g.Log); err != nil {
		return next, err
	}
	if first {
		g.agent, err = agent.New(agent.Config{
			Resource: conf.resource, Source: next.source, Cache: next.cache, Outputs: next.outputs.list(conf.outputs),
			Sleep: agent.WatchSleep, Changes: zerolog.InfoLevel, Version: g.Version, Log: g.Log,
		})
		if err != nil {
			return next, err
		}
		g.agent.SetOnRevoke(conf.OnRevoke) // before the socket answers
	}
	if first || conf.Socket != old.conf.Socket {
		if next.socket, err = g.listen(conf); err != nil {
			return next, err
		}
	}
	if next.credentials, err = g.listenCredentials(conf); err != nil {
		return next, err
	}
	if first || conf.MetricsAddr != old.conf.MetricsAddr {
		next.metrics, err = g.listenMetrics(ctx, conf, next.socket)
	}
	return next, err
}

// take replaces the configuration. After an error nothing has changed.
func (g *generation) take(ctx context.Context, conf *daemonConfig) error {
	next, err := g.build(ctx, conf)
	if err != nil {
		return err
	}
	old := g.parts
	var changed []string
	for _, part := range []struct {
		name    string
		changed bool
	}{
		{"socket", next.socket != old.socket}, {"metrics", next.metrics != old.metrics}, {"vault", next.client != old.client},
		{"cache", next.cache != old.cache}, {"outputs", !conf.sameOutputs(old.conf)},
	} {
		if part.changed {
			changed = append(changed, part.name)
		}
	}
	if next.socket != old.socket && next.metrics == old.metrics { // on the same port, of the new socket
		next.metrics.Close()
		if next.metrics, err = g.listenMetrics(ctx, conf, next.socket); err != nil {
			g.Log.Error().Err(err).Msg("metrics port closed")
		}
	}
	g.tap.Set(g.Stderr, "miosa-env", conf.LogLevel, conf.LogFormat)
	if next.source != old.source || next.cache != old.cache {
		g.agent.Replace(next.source, next.cache)
		g.hide(conf)
	}
	if !conf.sameOutputs(old.conf) {
		g.agent.SetOutputs(next.outputs.list(conf.outputs))
	}
	g.parts = next
	old.close(next)
	if g.credentials != nil {
		g.credentials.server.SetUnits(conf.Units)
	}
	g.socket.server.SetAllowed(conf.peers)
	g.agent.SetOnRevoke(conf.OnRevoke)
	if !reflect.DeepEqual(conf.Config, old.conf.Config) || len(changed) > 0 {
		g.Log.Info().Strs("changed", changed).Msg("configuration reloaded")
	}
	g.watch()
	return nil
}
