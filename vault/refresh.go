package vault

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/outgoing"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

const (
	refreshInterval = 15 * time.Second       // between checks of the schedules: other processes change them too
	rateInterval    = 500 * time.Millisecond // the same, while a tenant has reached its rate of requests
	refreshTimeout  = 5 * time.Second        // how long a reveal waits for tokens that have expired
	claimPause      = 100 * time.Millisecond // between tries to claim what another process has claimed
	flowInterval    = 10 * time.Minute       // between deletions of old flows
	storePause      = time.Second            // between tries to store a token while the store is unavailable
)

// refresher requests new OAuth tokens from the providers before the old ones expire. However many callers want
// the same token, it requests it once.
type refresher struct {
	store     *store.Store
	providers *oauth.Providers
	outgoing  *outgoing.Limiter
	circuits  outgoing.Circuits
	metrics   *metrics
	log       zerolog.Logger

	group   singleflight.Group // by secret
	any     atomic.Bool        // there may be schedules; otherwise reveals need not look for them
	stop    context.CancelFunc
	active  sync.WaitGroup  // run, refreshes, and exchanges of codes
	unknown []string        // providers that were logged as unknown; used by run only
	altered outgoing.Pauses // of secrets whose schedules the store refuses

	step func(name string) error // for tests: called between the steps of a refresh
}

func newRefresher(s *store.Store, providers *oauth.Providers, limiter *outgoing.Limiter, m *metrics, log zerolog.Logger) *refresher {
	ctx, stop := context.WithCancel(context.Background())
	r := &refresher{store: s, providers: providers, outgoing: limiter, metrics: m, log: log, stop: stop,
		step: func(string) error { return nil }}
	r.any.Store(true) // until the schedules are read
	r.active.Go(func() { r.run(ctx) })
	r.active.Go(func() { r.expireFlows(ctx) })
	return r
}

// close stops the scheduler and waits for running refreshes: a provider may have issued a token already, which would be
// lost.
func (r *refresher) close() {
	r.stop()
	r.active.Wait()
}

// run refreshes the tokens that are due, until ctx ends. It never waits for a request.
func (r *refresher) run(ctx context.Context) {
	for ctx.Err() == nil {
		ended := r.outgoing.Ended()
		due, next, err := r.store.DueRefreshes(ctx, r.providers.Names(), r.altered.Paused(time.Now()))
		if err == nil {
			r.any.Store(next != nil || len(due) > 0)
		} else if ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("cannot list due tokens")
		}
		wait := refreshInterval
		if r.launch(ctx, due) {
			wait = rateInterval
		}
		if next != nil {
			wait = untilDue(*next, wait)
		}
		r.logUnknown(ctx)
		select {
		case <-ctx.Done():
		case <-ended: // others may be due, or have a place
		case <-r.store.Rescheduled():
			r.any.Store(true)
		case <-time.After(wait):
		}
	}
}

// untilDue is the time until a schedule is due, at most wait. The store compares in microseconds, so it is one more.
func untilDue(t time.Time, wait time.Duration) time.Duration {
	return min(max(time.Until(t), 0), wait) + time.Microsecond
}

// expireFlows deletes old flows, now and then.
func (r *refresher) expireFlows(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.store.ExpireFlows(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("cannot delete old OAuth flows")
		}
		_ = delay.Sleep(ctx, flowInterval)
	}
}

// launch starts the refreshes for which there is a place; those of tenants with the fewest requests first. It reports
// whether a tenant has reached its rate.
func (r *refresher) launch(ctx context.Context, due []store.Refresh) (limited bool) {
	running := map[string]int{}
	for _, d := range due {
		running[d.Tenant] = r.outgoing.Running(d.Tenant)
	}
	slices.SortStableFunc(due, func(a, b store.Refresh) int { return cmp.Compare(running[a.Tenant], running[b.Tenant]) })
	for _, d := range due {
		_, host := d.Host()
		release, full := r.outgoing.Take(d.Tenant, host)
		if full != nil {
			r.metrics.countRefusal(full.Limit)
			limited = limited || full.Limit == limit.TenantOAuthRate.String()
			continue
		}
		begun := r.join(ctx, d.SecretID, func(ctx context.Context) error {
			err := r.refresh(ctx, d.Tenant, d.SecretID, 0)
			if errors.Is(err, store.ErrClaimed) {
				return nil // by another process
			}
			return err
		})
		r.active.Go(func() {
			defer release()
			result := <-begun
			if errors.Is(result.Err, api.ErrInternal) {
				r.altered.Add(d.SecretID, time.Now())
				return
			}
			if _, recorded := errors.AsType[*oauth.Error](result.Err); result.Err != nil && !recorded {
				_ = delay.Sleep(ctx, storePause) // it is still due
			}
		})
	}
	return limited
}

// logUnknown logs the providers whose tokens are due and that this process doesn't know, once each. Another process may
// know them, so their schedules stay as they are.
func (r *refresher) logUnknown(ctx context.Context) {
	unknown, err := r.store.UnknownProviders(ctx, r.providers.Names())
	if err != nil {
		return
	}
	for _, name := range unknown {
		if !slices.Contains(r.unknown, name) {
			r.log.Warn().Str("provider", name).Msg("tokens of an unknown provider are due")
		}
	}
	r.unknown = unknown
}

// join runs do, or joins the refresh of the secret that runs. The end of ctx doesn't end do's context: others may have
// joined.
func (r *refresher) join(ctx context.Context, secretID string, do func(context.Context) error) <-chan singleflight.Result {
	return r.group.DoChan(secretID, func() (any, error) {
		r.active.Add(1)
		defer r.active.Done()
		return nil, do(context.WithoutCancel(ctx))
	})
}

// start refreshes a secret's token, or joins a refresh that runs. version is the version to replace; 0: any. The end of
// ctx ends the wait for a place, and for another process. The channel gets one result, nil if there is a newer version or
// nothing was due.
func (r *refresher) start(ctx context.Context, tenant, secretID string, version int64) <-chan singleflight.Result {
	return r.join(ctx, secretID, func(own context.Context) error {
		secret, err := r.store.Refreshed(own, tenant, secretID)
		if errors.Is(err, api.ErrNotFound) {
			return nil
		}
		if err != nil || secret.Provider != "" && r.providers.Named(secret.Provider) == nil {
			return err // another process may know the provider
		}
		_, host := secret.Host()
		for {
			release, err := r.place(ctx, tenant, host)
			if err != nil {
				return err
			}
			err = r.refresh(own, tenant, secretID, version)
			release()
			if !errors.Is(err, store.ErrClaimed) {
				return err
			}
			if err := delay.Sleep(ctx, claimPause); err != nil {
				return err
			}
		}
	})
}

// place waits for a place for a request, until ctx ends.
func (r *refresher) place(ctx context.Context, tenant, host string) (release func(), err error) {
	for {
		ended := r.outgoing.Ended()
		release, full := r.outgoing.Take(tenant, host)
		if full == nil {
			return release, nil
		}
		r.metrics.countRefusal(full.Limit)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended:
		case <-time.After(rateInterval):
		}
	}
}

// refresh claims, requests and stores one token. Errors: ErrClaimed if another process refreshes it.
func (r *refresher) refresh(ctx context.Context, tenant, secretID string, version int64) error {
	secret, err := r.store.Refreshed(ctx, tenant, secretID)
	if errors.Is(err, api.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// Before the claim, which others wait for: an issuer may not answer.
	undiscovered := r.discover(ctx, secret)
	claimed, err := r.store.ClaimRefresh(ctx, tenant, secretID, version)
	if errors.Is(err, store.ErrNotDue) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.step("claimed"); err != nil {
		return err
	}
	var token oauth.Token
	if err = undiscovered; err == nil {
		token, err = r.try(ctx, claimed)
	}
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
		if !errors.Is(err, api.ErrInvalid) {
			return err
		}
		failed := &oauth.Error{Outcome: oauth.Unsent, Code: limit.TenantBytes.String()}
		return r.fail(ctx, claimed, failed, failed)
	}
	failed, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		failed = &oauth.Error{Outcome: oauth.Unsent, Code: "internal"}
	}
	return r.fail(ctx, claimed, failed, err)
}

// fail records a refresh without a token, because of err, and returns err.
func (r *refresher) fail(ctx context.Context, claimed store.Refresh, failed *oauth.Error, err error) error {
	status, failErr := r.store.FailRefresh(ctx, claimed, failed)
	r.log.Warn().Err(err).Str("secret_id", claimed.SecretID).Str("provider", claimed.Source()).Str("status", status).Msg("token not refreshed")
	return cmp.Or(failErr, err)
}

// discover gets the endpoint of a secret's provider, unless its circuit is open. Errors: *oauth.Error.
func (r *refresher) discover(ctx context.Context, secret store.Refresh) error {
	p := r.providers.Named(secret.Provider)
	if p == nil || p.Discovered() {
		return nil
	}
	owner, host := secret.Host()
	if wait, code, open := r.circuits.Open(owner, host); open {
		return &oauth.Error{Outcome: oauth.Unsent, Code: code, RetryAfter: wait}
	}
	err := p.Discover(ctx)
	r.count(owner, host, err)
	return err
}

// try requests a token, unless the circuit of its host is open. Errors: *oauth.Error.
func (r *refresher) try(ctx context.Context, c store.Refresh) (oauth.Token, error) {
	owner, host := c.Host()
	if wait, code, open := r.circuits.Open(owner, host); open && !c.Urgent {
		r.metrics.unsent.Inc()
		return oauth.Token{}, &oauth.Error{Outcome: oauth.Unsent, Code: code, RetryAfter: wait}
	}
	token, err := r.request(ctx, c)
	r.count(owner, host, err)
	return token, err
}

// count tells the circuit of a host how a request ended.
func (r *refresher) count(owner, host string, err error) {
	failed, ok := errors.AsType[*oauth.Error](err)
	if !ok || failed.Answered() {
		r.circuits.Answered(owner, host)
		return
	}
	if r.circuits.Failed(owner, host, failed.Code) {
		r.log.Warn().Str("host", host).Str("error", failed.Code).Msg("a host doesn't answer; its tokens are refreshed later")
	}
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
