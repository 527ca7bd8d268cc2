package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// Config is a vault: its store and the limits in front of it.
type Config struct {
	StoreConfig

	Rate        float64       // requests a second of one key, in the long run; 0: 100
	Burst       int           // requests of one key at once; 0: 200
	MaxConns    int           // connections open at the same time; more wait; 0: 16384
	StopTimeout time.Duration // how long running requests may take to finish when it stops; 0: 10 s
	TLS         *tls.Config   // nil: plain http

	OAuth    *oauth.Providers // nil: none
	FlowTime time.Duration    // how long a user has to come back from a provider; 0: 10 min
}

// Failed authentications of one remote address: this many at once, and a second in the long run.
const (
	failBurst = 100
	failRate  = 10
)

// maxWaits is how many reveals of one key may wait at the same time. Each holds a connection, so
// without it one resource key could take them all.
const maxWaits = 64

// How many keys and addresses are counted at the same time: about 300 bytes each.
const maxBuckets = 1 << 16

func (c Config) rate() float64 {
	if c.Rate == 0 {
		return 100
	}
	return c.Rate
}

func (c Config) burst() int {
	if c.Burst == 0 {
		return 200
	}
	return c.Burst
}

func (c Config) maxConns() int {
	if c.MaxConns == 0 {
		return 16384
	}
	return c.MaxConns
}

func (c Config) stopTimeout() time.Duration {
	if c.StopTimeout == 0 {
		return 10 * time.Second
	}
	return c.StopTimeout
}

func (c Config) flowTime() time.Duration {
	if c.FlowTime == 0 {
		return 10 * time.Minute
	}
	return c.FlowTime
}

// Validate returns every problem at once.
func (c Config) Validate() error {
	problems := []error{c.StoreConfig.Validate()}
	if c.Rate < 0 {
		problems = append(problems, errors.New("rate must not be negative"))
	}
	if c.Burst < 0 {
		problems = append(problems, errors.New("burst must not be negative"))
	}
	if c.MaxConns < 0 {
		problems = append(problems, errors.New("number of connections must not be negative"))
	}
	if c.StopTimeout < 0 {
		problems = append(problems, errors.New("stop timeout must not be negative"))
	}
	if c.FlowTime < 0 {
		problems = append(problems, errors.New("flow time must not be negative"))
	}
	return errors.Join(problems...)
}

// Vault serves the contract over one store. Open makes one; Serve or Handler put it to work; Close
// ends it.
type Vault struct {
	conf     Config
	log      zerolog.Logger
	store    *Store
	perKey   *buckets
	failures *buckets
	waits    *places // of reveals that wait, by key
	metrics  *metrics
	ready    readiness
	routes   []route
	renewer  *renewer
	listens  atomic.Pointer[string] // where Serve listens, as a URL; nil before

	draining context.Context // done when the vault stops: waiting reveals end
	drain    context.CancelFunc
}

// Open opens the store, making it where there is none, and puts the HTTP layer in front of it.
func Open(ctx context.Context, c Config) (*Vault, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	store, err := OpenStore(ctx, c.StoreConfig)
	if err != nil {
		return nil, err
	}
	v := &Vault{
		conf: c, log: c.Log, store: store,
		perKey:   newBuckets(c.rate(), c.burst(), maxBuckets),
		failures: newBuckets(failRate, failBurst, maxBuckets),
		waits:    newPlaces(maxWaits),
	}
	v.draining, v.drain = context.WithCancel(context.Background())
	v.routes = v.contract()
	v.metrics = newMetrics(v.routes)
	v.renewer = newRenewer(store, c.OAuth, c.Log)
	return v, nil
}

// publicURL is where browsers reach the vault: as configured, else where it listens, if that is loopback. "": unknown.
func (v *Vault) publicURL() string {
	if v.conf.OAuth != nil && v.conf.OAuth.PublicURL != "" {
		return v.conf.OAuth.PublicURL
	}
	if at := v.listens.Load(); at != nil {
		return *at
	}
	return ""
}

// Store gives the store, for what has no route: minting tenant keys, rotating data keys.
func (v *Vault) Store() *Store { return v.store }

// Close wakes what waits, lets renewals that have begun store what they were given, and closes the store. Stop serving first: end Serve's ctx.
func (v *Vault) Close() error {
	v.drain()
	v.renewer.close()
	return v.store.Close()
}
