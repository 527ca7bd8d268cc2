package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// broker serves the resources of a configuration. Its methods are called by one goroutine, except list and resource.
type broker struct {
	log     zerolog.Logger
	started time.Time
	rekeyed chan struct{} // receives when a client has replaced a refused key by another one from its file
	failed  chan error    // receives when a proxy has failed
	metrics *metrics
	reports *reports

	parts

	mu        sync.Mutex // guards resources
	resources map[api.Resource]*resource
}

// parts are what is made from a configuration, beside the resources. Consecutive configurations share what doesn't change.
type parts struct {
	now           *settings // nil at first
	client        *fetch.Client
	socket        *statusSocket
	metricsServer *task.Task           // nil: none
	endpoints     map[string]*endpoint // by address
}

func newBroker(log zerolog.Logger) *broker {
	b := &broker{log: log, started: time.Now().UTC(), rekeyed: make(chan struct{}, 1), failed: make(chan error, 1)}
	b.metrics = newMetrics(b)
	b.reports = newReports(log, b.metrics.registry)
	return b
}

// list returns the resources, sorted.
func (b *broker) list() []*resource {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.resources), func(x, y *resource) int {
		return cmp.Compare(x.String(), y.String())
	})
}

// resource returns a resource, or nil.
func (b *broker) resource(r api.Resource) *resource {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resources[r]
}

// take replaces the configuration. After an error nothing has changed, except files with certificates.
func (b *broker) take(ctx context.Context, s *settings) (err error) {
	old := b.parts
	next := old
	next.now, next.endpoints = s, map[string]*endpoint{}
	defer func() {
		if err != nil {
			next.close(old)
		}
	}()
	first := old.now == nil
	if first || !s.sameVault(old.now) {
		if next.client, err = fetch.New(b.clientConfig(s)); err != nil {
			return err
		}
	}
	if first || s.Socket != old.now.Socket {
		if next.socket, err = b.listenStatus(s); err != nil {
			return err
		}
	}
	if first || s.MetricsAddr != old.now.MetricsAddr {
		if next.metricsServer, err = b.metrics.listen(ctx, s); err != nil {
			return err
		}
	}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if next.endpoints[l.Address] = old.endpoints[l.Address]; next.endpoints[l.Address] == nil {
			if next.endpoints[l.Address], err = listen(ctx, l, b.log); err != nil {
				return err
			}
		}
	}
	resources := map[api.Resource]*resource{}
	for _, r := range s.resources {
		spec := s.spec(r)
		if resources[r] = b.resources[r]; resources[r] == nil || !resources[r].spec.equal(spec) {
			if resources[r], err = b.newResource(s, spec, next.client); err != nil {
				return err
			}
		}
		if err := resources[r].writeCertificate(s); err != nil {
			return err
		}
	}

	// Nothing fails from here on.
	b.reports.use(next.client)
	changed := !first && (!s.sameVault(old.now) || !s.sameCache(old.now))
	for id, r := range resources {
		switch {
		case b.resources[id] != r:
			r.start(b.failed)
		case changed:
			r.engine.Replace(next.client.Source(id), s.cache(id))
		}
		r.maxAge.Store(int64(cmp.Or(s.CacheMaxAge, defaultMaxAge)))
	}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		r := resources[l.Resource()]
		queue := r.proxied
		if l.Mode == config.ModeTransparent {
			queue = r.redirected
		}
		next.endpoints[l.Address].passTo(queue)
	}
	b.mu.Lock()
	before := b.resources
	b.resources = resources
	b.mu.Unlock()
	b.parts = next
	old.close(next)
	for id, r := range before {
		if resources[id] != r {
			r.close()
		}
	}
	return nil
}

// close closes the parts that others don't share.
func (p parts) close(others parts) {
	for address, l := range p.endpoints {
		if l != nil && others.endpoints[address] != l {
			l.close()
		}
	}
	if p.metricsServer != others.metricsServer {
		p.metricsServer.Close()
	}
	if p.socket != others.socket {
		p.socket.close()
	}
	if p.client != nil && p.client != others.client {
		p.client.Close()
	}
}

// close ends everything. The vault is needed until the last traffic is reported.
func (b *broker) close() {
	vault := b.client
	b.parts.close(parts{client: vault})
	var all sync.WaitGroup
	for _, r := range b.list() {
		all.Go(r.close)
	}
	all.Wait()
	b.reports.close()
	parts{client: vault}.close(parts{})
}

// clientConfig returns the configuration of the client of the vault. If the client replaces a refused key by another one from its
// file, the configuration is read again for whatever else depends on the key, such as the cache.
func (b *broker) clientConfig(s *settings) fetch.Config {
	c := fetch.Config{
		BaseURL: s.BaseURL, Key: s.key.Key, CAFile: s.CAFile, Proxy: s.Proxy, Log: b.log, UserAgent: "miosa-egress/" + version,
	}
	if reread := s.key.Reread(); reread != nil {
		c.Reread = func(ctx context.Context, refused api.Key) (api.Key, error) {
			key, err := reread(ctx, refused)
			if err == nil && !key.Equal(refused.Value) {
				select {
				case b.rekeyed <- struct{}{}:
				default:
				}
			}
			return key, err
		}
	}
	return c
}

// refused reports whether the vault refuses the key.
func (b *broker) refused() bool {
	return slices.ContainsFunc(b.list(), func(r *resource) bool { return r.engine.Status().State == agent.Refused })
}

// alive reports whether no engine hangs.
func (b *broker) alive() bool {
	return !slices.ContainsFunc(b.list(), func(r *resource) bool { return !r.engine.Alive() })
}

// restore creates sockets again that were removed.
func (b *broker) restore() {
	b.socket.restore(b.log)
	for _, l := range b.endpoints {
		l.restore(b.log)
	}
}
