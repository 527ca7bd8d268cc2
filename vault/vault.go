// Package vault serves the API over HTTP: routes and handlers, authentication, rate limits, metrics, the callback of
// OAuth flows, and the refresh of OAuth tokens. Package store has the data and its rules.
//
// docs/api.md describes the API, docs/security.md what protects it.
package vault

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/vault/disk"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/outgoing"
	"github.com/Miosa-osa/miosa-env/vault/release"
	"github.com/Miosa-osa/miosa-env/vault/store"
	"github.com/Miosa-osa/miosa-env/vault/worker"
)

// Config configures a vault.
type Config struct {
	Store store.Config

	Limits      limit.Values  // of tenants, keys, addresses and the vault
	StopTimeout time.Duration // for running requests when the vault stops; 0: 10 s
	TLS         *tls.Config   // nil: plain HTTP
	OwnMetrics  bool          // serve /metrics with ServeMetrics only

	OAuth    *oauth.Providers // nil: none
	FlowTime time.Duration    // until a user must return from a provider; 0: 10 min

	OnRequest func(route string) // called for each request, with its route's name, such as "GET /egress/secrets/{id}"; nil: none
}

func (c Config) stopTimeout() time.Duration { return cmp.Or(c.StopTimeout, 10*time.Second) }
func (c Config) flowTime() time.Duration    { return cmp.Or(c.FlowTime, 10*time.Minute) }

// Validate returns every problem at once.
func (c Config) Validate() error {
	problems := []error{c.Store.Validate(), c.Limits.Validate()}
	for _, number := range []struct {
		name     string
		negative bool
	}{
		{"stop timeout", c.StopTimeout < 0}, {"flow time", c.FlowTime < 0},
	} {
		if number.negative {
			problems = append(problems, errors.New(number.name+" must not be negative"))
		}
	}
	return errors.Join(problems...)
}

// Vault serves the API over one store.
type Vault struct {
	conf     Config
	log      zerolog.Logger
	store    *store.Store
	limits   limits
	metrics  *metrics
	ready    readiness
	routes   []route
	outgoing *outgoing.Limiter
	refresh  *refresher
	localURL atomic.Pointer[string] // of the loopback address that Serve listens on; nil: unknown

	draining  context.Context // done when the vault stops
	drain     context.CancelFunc
	workers   *worker.Pool    // answer waiting reveals
	answering context.Context // of answers to requests that have waited; done when the vault is closed
	abort     context.CancelFunc
	atTheStop atomic.Int64 // reveals that waited when the vault began to stop
	watching  sync.WaitGroup
}

// Open opens the store, and creates it if there is none.
func Open(ctx context.Context, c Config) (*Vault, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	v := &Vault{conf: c, log: c.Store.Log}
	v.limits.set(c.Limits)
	v.metrics = newMetrics(&v.limits)
	c.Store.Limits = c.Limits
	c.Store.OnAltered = func(table string) { v.metrics.altered.WithLabelValues(table).Inc() }
	s, err := store.Open(ctx, c.Store)
	if err != nil {
		return nil, err
	}
	v.store = s
	var cancel context.CancelFunc
	v.draining, cancel = context.WithCancel(context.Background())
	v.drain = sync.OnceFunc(func() {
		v.atTheStop.Store(int64(v.limits.requests.Waiting()))
		cancel()
	})
	v.workers = worker.New()
	v.answering, v.abort = context.WithCancel(context.Background())
	v.routes = v.keyRoutes()
	v.outgoing = outgoing.New(v.limits.values)
	v.metrics.countOutgoing(v.outgoing)
	v.metrics.measureStore(s, c.Store.DataDir)
	v.watching.Go(func() { disk.Watch(v.draining, c.Store.DataDir, c.Store.Log) })
	v.watching.Go(func() { release.Run(v.draining) })
	v.refresh = newRefresher(s, c.OAuth, v.outgoing, v.metrics, c.Store.Log)
	return v, nil
}

// publicURL is the vault's URL for browsers: the configured one, else its loopback address; "": unknown.
func (v *Vault) publicURL() string {
	if v.conf.OAuth != nil && v.conf.OAuth.PublicURL != "" {
		return v.conf.OAuth.PublicURL
	}
	if at := v.localURL.Load(); at != nil {
		return *at
	}
	return ""
}

// Store returns the store, for operations without a route, such as creating tenant keys.
func (v *Vault) Store() *store.Store { return v.store }

// Close ends waiting reveals, waits until running refreshes have stored their tokens, and closes the store. Serve must
// have returned.
func (v *Vault) Close() error {
	v.drain()
	v.abort()
	v.watching.Wait()
	v.refresh.close()
	v.workers.Close()
	return v.store.Close()
}
