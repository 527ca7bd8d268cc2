package vault

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

const (
	maxRefreshes    = 16               // refreshes of one process at the same time
	refreshInterval = 15 * time.Second // between checks of the schedules: other processes change them too
	refreshTimeout  = 5 * time.Second  // how long a reveal waits for tokens that have expired
	storePause      = time.Second      // between tries to store a token while the store is unavailable
)

// refresher requests new OAuth tokens from the providers before the old ones expire. However many callers want
// the same token, it requests it once.
type refresher struct {
	store     *store.Store
	providers *oauth.Providers
	log       zerolog.Logger

	group  singleflight.Group // by secret
	any    atomic.Bool        // there may be schedules; otherwise reveals need not look for them
	stop   context.CancelFunc
	active sync.WaitGroup // run, refreshes, and exchanges of codes

	step func(name string) error // for tests: called between the steps of a refresh
}

func newRefresher(s *store.Store, providers *oauth.Providers, log zerolog.Logger) *refresher {
	ctx, stop := context.WithCancel(context.Background())
	r := &refresher{store: s, providers: providers, log: log, stop: stop,
		step: func(string) error { return nil }}
	r.any.Store(true) // until the schedules are read
	r.active.Go(func() { r.run(ctx) })
	return r
}

// close stops the scheduler and waits for running refreshes: a provider may have issued a token already, which would be
// lost.
func (r *refresher) close() {
	r.stop()
	r.active.Wait()
}

// run refreshes the tokens that are due, until ctx ends.
func (r *refresher) run(ctx context.Context) {
	var running errgroup.Group
	running.SetLimit(maxRefreshes)
	defer func() { _ = running.Wait() }()
	finished := make(chan struct{}, 1)
	for ctx.Err() == nil {
		due, next, err := r.store.DueRefreshes(ctx, maxRefreshes)
		if err == nil {
			r.any.Store(next != nil)
		} else if ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("cannot list due tokens")
		}
		for _, d := range due {
			running.Go(func() error { // waits for one of the others to end
				if ctx.Err() != nil {
					return nil //nolint:nilerr // close was called while this waited
				}
				<-r.start(ctx, d.Tenant, d.SecretID, 0) // an error is in the secret's metadata
				select {
				case finished <- struct{}{}:
				default:
				}
				return nil
			})
		}
		wait := refreshInterval
		if len(due) == 0 && next != nil {
			wait = min(max(time.Until(*next)+time.Microsecond, 0), refreshInterval)
		}
		select {
		case <-ctx.Done():
		case <-finished: // others may be due
		case <-r.store.Rescheduled():
			r.any.Store(true)
		case <-time.After(wait):
		}
	}
}

// start refreshes a secret's token, or joins a refresh that runs. version is the version to replace; 0: any. The channel
// gets one result, nil if there is a newer version or nothing was due.
func (r *refresher) start(ctx context.Context, tenant, secretID string, version int64) <-chan singleflight.Result {
	return r.group.DoChan(secretID, func() (any, error) {
		r.active.Add(1)
		defer r.active.Done()
		// Not the caller's context: others may have joined.
		return nil, r.refresh(context.WithoutCancel(ctx), ctx, tenant, secretID, version)
	})
}

// refresh claims, requests and stores one token. The end of claimCtx ends only the wait for another process.
func (r *refresher) refresh(ctx, claimCtx context.Context, tenant, secretID string, version int64) error {
	claimed, err := r.store.ClaimRefresh(ctx, tenant, secretID, version)
	for errors.Is(err, store.ErrClaimed) {
		if err := delay.Sleep(claimCtx, 100*time.Millisecond); err != nil {
			return err
		}
		claimed, err = r.store.ClaimRefresh(ctx, tenant, secretID, version)
	}
	if errors.Is(err, store.ErrNotDue) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.step("claimed"); err != nil {
		return err
	}
	token, err := r.request(ctx, claimed)
	if err == nil {
		defer token.Access.Wipe()
		defer token.Refresh.Wipe()
		if err := r.step("answered"); err != nil {
			return err
		}
		// The claim holds as long: the provider may have replaced the old refresh token by the one that is only in memory.
		log := r.log.With().Str("secret_id", secretID).Logger()
		err := persist(ctx, log, store.ClaimTime, func(ctx context.Context) error { return r.store.StoreRefresh(ctx, claimed, token) })
		if err == nil {
			log.Info().Str("provider", claimed.Source()).Msg("token refreshed")
		}
		return err
	}
	failed, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		failed = &oauth.Error{Outcome: oauth.Unsent, Code: "internal"}
	}
	status, failErr := r.store.FailRefresh(ctx, claimed, failed)
	r.log.Warn().Err(err).Str("secret_id", secretID).Str("provider", claimed.Source()).Str("status", status).Msg("token not refreshed")
	if failErr != nil {
		return failErr
	}
	return err
}

// request gets a token. Errors: *oauth.Error.
func (r *refresher) request(ctx context.Context, c store.Refresh) (oauth.Token, error) {
	if c.Provider == "" {
		bad := &oauth.Error{Outcome: oauth.Refused, Code: "bad_metadata"}
		if c.Secret.Len() == 0 {
			return oauth.Token{}, bad
		}
		token, err := r.providers.Mint(ctx, c.Metadata, c.Secret)
		if errors.Is(err, api.ErrInvalid) {
			err = bad
		}
		return token, err
	}
	p := r.providers.Named(c.Provider)
	switch {
	case p == nil: // an operator removed it from the file, and may add it again
		return oauth.Token{}, &oauth.Error{Outcome: oauth.Unsent, Code: "no_such_provider"}
	case c.Secret.Len() == 0:
		return oauth.Token{}, &oauth.Error{Outcome: oauth.Refused, Code: "no_refresh_token"}
	}
	return p.Refresh(ctx, c.Secret)
}

// persist calls save, which stores a token, and calls it again while the store is unavailable, for at most timeout.
func persist(ctx context.Context, log zerolog.Logger, timeout time.Duration, save func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := save(ctx)
		if !errors.Is(err, api.ErrUnavailable) {
			return err
		}
		log.Error().Err(err).Msg("new token not stored; trying again")
		if errors.Is(err, database.ErrClosed) || delay.Sleep(ctx, storePause) != nil {
			return err
		}
	}
}

// expired refreshes the tokens of a resource that have expired, as after a time without the vault, and waits for them.
// It doesn't wait long: a provider that is down must not delay the other values.
func (r *refresher) expired(ctx context.Context, a store.Actor, resource api.Resource) error {
	if !r.any.Load() || a.Resource != resource {
		return nil // the store refuses a reveal that isn't allowed
	}
	tokens, err := r.store.ExpiredTokens(ctx, a, resource)
	if err != nil || len(tokens) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	var all []<-chan singleflight.Result
	for _, t := range tokens {
		all = append(all, r.start(ctx, t.Tenant, t.SecretID, t.Version))
	}
	for _, refreshed := range all {
		select {
		case <-refreshed: // an error is in the secret's metadata
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
