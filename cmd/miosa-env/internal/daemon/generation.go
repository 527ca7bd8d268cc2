package daemon

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/credential"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// generation is a daemon's work for one resource. What else its configuration says can change while
// it runs.
type generation struct {
	*daemon
	conf        *daemonConfig
	agent       *agent.Engine
	client      *fetch.Client
	source      *fetch.Source
	cache       *cache.Cache
	outputs     outputs
	socket      *socketServer
	metrics     *metricsServer    // nil: none
	credentials *credentialServer // nil: none
}

// run works until ctx ends, or until there is a configuration for another resource, which it returns.
func (g *generation) run(ctx context.Context) (*daemonConfig, error) {
	if err := g.make(); err != nil {
		return nil, err
	}
	defer func() { g.client.Close() }()
	defer func() { g.outputs.close(nil) }()
	var err error
	if g.socket, err = g.open(g.conf); err != nil {
		return nil, err
	}
	defer func() { g.socket.close() }()
	if g.credentials, err = g.renewCredentials(g.conf); err != nil {
		return nil, err
	}
	defer func() { g.credentials.close() }()
	if g.metrics, err = g.openMetrics(ctx, g.conf, g.socket); err != nil {
		return nil, err
	}
	defer func() { g.metrics.close() }()

	running, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	working.Go(func() { _ = g.agent.Run(running) })
	g.watch()
	g.Log.Info().Str("resource", g.conf.resource.String()).Str("socket", g.socket.Path()).Int("outputs", len(g.outputs)).
		Bool("cache", g.cache != nil).Str("version", g.Version).Msg("agent started")
	g.manager.Beat(g.agent)
	for {
		var next *daemonConfig
		moved := g.agent.Changed() // asked for first: no change is missed
		var look <-chan time.Time  // at the key's file, which may be where nothing tells of changes
		if g.agent.Status().State == agent.Refused {
			look = time.After(program.KeyPoll)
		}
		g.manager.Update(g.agent)
		select {
		case <-ctx.Done():
			g.Log.Info().Msg("agent stopping")
			g.manager.Stopping()
			return nil, nil
		case <-moved:
		case <-look:
			if g.conf.Differs(g.conf.key, g.conf.key.Key) {
				g.manager.Reloading()
				next = g.reload()
			}
		case <-g.rekeyed:
			g.manager.Reloading()
			next = g.reload()
		case <-g.manager.Tick():
			g.manager.Beat(g.agent)
		case <-g.hangups:
			g.manager.Reloading()
			g.socket.restore(g.Log)
			g.credentials.restore(g.Log)
			if next = g.reload(); next != nil {
				g.Log.Info().Msg("HUP received: rereading configuration, key and CA")
			}
		case paths := <-g.changed:
			if slices.Contains(paths, g.socket.Path()) {
				g.socket.restore(g.Log)
			}
			if slices.Contains(paths, credential.Path(g.socket.Path())) {
				g.credentials.restore(g.Log)
			}
			g.outputs.mend(paths, g.agent, g.Log)
			if g.concerns(paths) {
				g.manager.Reloading()
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

// concerns tells whether one of paths is none that we write.
func (g *generation) concerns(paths []string) bool {
	for _, path := range paths {
		if g.outputs[path] == nil && path != g.socket.Path() && path != credential.Path(g.socket.Path()) {
			return true
		}
	}
	return false
}

func (g *generation) watch() {
	if g.watcher != nil {
		g.watcher.Set(g.conf.watched(g.at))
	}
}

// make makes everything that asks nobody anything.
func (g *generation) make() (err error) {
	if g.client, err = fetch.New(g.config(g.conf)); err != nil {
		return err
	}
	g.source = g.client.Source(g.conf.resource)
	if g.cache, err = g.newCache(g.conf); err != nil {
		return err
	}
	if g.outputs, err = (outputs{}).renew(g.conf.outputs, g.Log); err != nil {
		return err
	}
	g.agent, err = agent.New(agent.Config{
		Resource: g.conf.resource, Source: g.source, Cache: g.cache, Outputs: g.outputs.list(g.conf.outputs),
		Sleep: agent.WatchSleep, Changes: zerolog.InfoLevel, Version: g.Version, Log: g.Log,
	})
	if err != nil {
		return err
	}
	g.agent.SetOnRevoke(g.conf.OnRevoke)
	return nil
}

func (g *generation) newCache(conf *daemonConfig) (*cache.Cache, error) {
	if !conf.Cache {
		return nil, nil
	}
	c, err := conf.CacheConfig(g.Environ, conf.key, conf.resource)
	if err != nil {
		return nil, err
	}
	return cache.New(c)
}

// take goes on with another configuration. First comes all that may fail: after an error nothing has
// changed.
func (g *generation) take(ctx context.Context, next *daemonConfig) error {
	old := g.conf
	client, source, cache := g.client, g.source, g.cache
	var err error
	if !next.sameVault(old) {
		if client, err = fetch.New(g.config(next)); err != nil {
			return err
		}
		source = client.Source(next.resource)
	}
	if !next.sameCache(old) {
		if cache, err = g.newCache(next); err != nil {
			return err
		}
	}
	outputs, err := g.outputs.renew(next.outputs, g.Log)
	if err != nil {
		return err
	}
	credentials, err := g.renewCredentials(next)
	if err != nil {
		outputs.close(g.outputs)
		return err
	}
	taken, err := g.move(ctx, next)
	if err != nil {
		if credentials != g.credentials {
			credentials.close()
		}
		outputs.close(g.outputs)
		return err
	}
	if credentials != g.credentials {
		g.credentials.close()
		g.credentials = credentials
	}
	if credentials != nil {
		credentials.SetUnits(next.Units)
	}

	g.tap.Set(g.Stderr, next.LogLevel, next.LogFormat)
	if source != g.source || cache != g.cache {
		g.agent.Replace(source, cache)
		if client != g.client {
			g.client.Close()
			taken = append(taken, "vault")
		}
		if cache != g.cache {
			taken = append(taken, "cache")
		}
		g.client, g.source, g.cache = client, source, cache
		g.hide(next)
	}
	if !next.sameOutputs(old) {
		g.agent.SetOutputs(outputs.list(next.outputs))
		g.outputs.close(outputs)
		g.outputs = outputs
		taken = append(taken, "outputs")
	}
	g.socket.SetAllowed(next.peers)
	g.agent.SetOnRevoke(next.OnRevoke)
	if !reflect.DeepEqual(next.Config, old.Config) || len(taken) > 0 {
		g.Log.Info().Strs("changed", taken).Msg("configuration reloaded")
	}
	g.conf = next
	g.watch()
	return nil
}

// move goes to another socket or port, if it must. After an error it has stayed.
func (g *generation) move(ctx context.Context, next *daemonConfig) (moved []string, err error) {
	socket, metrics := g.socket, g.metrics
	if next.Socket != g.conf.Socket {
		if socket, err = g.open(next); err != nil {
			return nil, err
		}
		moved = append(moved, "socket")
	}
	switch {
	case next.MetricsAddr != g.conf.MetricsAddr:
		if metrics, err = g.openMetrics(ctx, next, socket); err != nil {
			if socket != g.socket {
				socket.close()
			}
			return nil, err
		}
		g.metrics.close()
		moved = append(moved, "metrics")
	case socket != g.socket && metrics != nil: // which tells of the old socket
		metrics.close()
		if metrics, err = g.openMetrics(ctx, next, socket); err != nil {
			g.Log.Error().Err(err).Msg("metrics port closed")
		}
	}
	if socket != g.socket {
		g.socket.close()
	}
	g.socket, g.metrics = socket, metrics
	return moved, nil
}
