package vault

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

const (
	renewTogether = 16               // renewals of one process at the same time
	renewLook     = 15 * time.Second // how often to look at the schedule without being told: other processes change it too
	renewPatience = 5 * time.Second  // how long a reveal waits for a token that has expired
	storePause    = time.Second      // between tries to store a token that the disk didn't take
)

// renewer keeps tokens fresh: it asks providers for new ones before the old ones end, each once, however many ask.
type renewer struct {
	store     *Store
	providers *oauth.Providers
	log       zerolog.Logger

	flights singleflight.Group // by secret
	places  chan struct{}      // one for each renewal under way
	any     atomic.Bool        // there may be grants: without any, reveals needn't look
	stop    context.CancelFunc
	ended   sync.WaitGroup // the schedule
	active  sync.WaitGroup // renewals, and exchanges of codes
}

func newRenewer(s *Store, providers *oauth.Providers, log zerolog.Logger) *renewer {
	ctx, stop := context.WithCancel(context.Background())
	r := &renewer{store: s, providers: providers, log: log, places: make(chan struct{}, renewTogether), stop: stop}
	r.any.Store(true) // until the schedule was looked at
	r.ended.Go(func() { r.run(ctx) })
	return r
}

// close ends the schedule and waits for the renewals under way: a provider may have given a new token already, which
// would be lost.
func (r *renewer) close() {
	r.stop()
	r.ended.Wait()
	r.active.Wait()
}

// run renews what is due, until ctx ends.
func (r *renewer) run(ctx context.Context) {
	for {
		due, next, err := r.store.dueRenewals(ctx, renewTogether)
		if err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("cannot read which tokens are due")
		}
		if err == nil {
			r.any.Store(next != nil)
		}
		for _, g := range due {
			select {
			case r.places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			r.ended.Go(func() {
				defer func() { <-r.places }()
				<-r.begin(ctx, g.tenant, g.secretID, 0)
				nudge(r.store.renewals) // what was due and waited for a place
			})
		}
		if len(due) == 0 {
			wait := renewLook
			if next != nil {
				wait = min(max(time.Until(*next)+time.Microsecond, 0), renewLook)
			}
			r.sleep(ctx, wait)
		} else {
			r.sleep(ctx, renewLook) // a renewal that ends wakes it
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (r *renewer) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-r.store.renewals:
		r.any.Store(true)
	case <-timer.C:
	}
}

// begin renews a secret's token, or joins who does. seen is the version whose token is to be replaced; 0: whichever
// is due. The channel gets one result, nil when a newer version stands or nothing was to be done.
func (r *renewer) begin(ctx context.Context, tenant, secretID string, seen int64) <-chan singleflight.Result {
	return r.flights.DoChan(secretID, func() (any, error) {
		r.active.Add(1)
		defer r.active.Done()
		// Not the caller's context: others have joined.
		return nil, r.once(context.WithoutCancel(ctx), ctx, tenant, secretID, seen)
	})
}

// once is one renewal from claim to storing. quit ends only its waiting for another process.
func (r *renewer) once(ctx, quit context.Context, tenant, secretID string, seen int64) error {
	var g renewal
	for {
		var err error
		g, err = r.store.claimRenewal(ctx, tenant, secretID, seen)
		if errors.Is(err, errRenewed) {
			return nil
		}
		if !errors.Is(err, errBeingTaken) {
			if err != nil {
				return err
			}
			break
		}
		if err := delay.Sleep(quit, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if err := r.store.step("claimed"); err != nil {
		return err
	}
	token, err := r.ask(ctx, g)
	if err == nil {
		if err := r.store.step("answered"); err != nil {
			return err
		}
		if err := r.keep(ctx, g, token); err != nil {
			return err
		}
		r.log.Info().Str("secret_id", g.secretID).Str("provider", g.called()).Msg("token renewed")
		return nil
	}
	failed, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		failed = &oauth.Error{Outcome: oauth.Unsent, Code: "internal"}
	}
	status, noted := r.store.failRenewal(ctx, g, failed)
	r.log.Warn().Err(err).Str("secret_id", g.secretID).Str("provider", g.called()).Str("status", status).Msg("token not renewed")
	if noted != nil {
		return noted
	}
	return err
}

// ask asks where the token is from. Errors: *oauth.Error, or an *api.Error for a secret that can't be renewed as it is.
func (r *renewer) ask(ctx context.Context, g renewal) (oauth.Token, error) {
	if g.provider == "" {
		m, err := machineOf(g.row.metadata)
		if err != nil || g.secret == nil {
			return oauth.Token{}, &oauth.Error{Outcome: oauth.Refused, Code: "bad_metadata"}
		}
		return r.providers.Mint(ctx, m, *g.secret)
	}
	p := r.providers.Named(g.provider)
	switch {
	case p == nil: // an operator took it out of the file, and may put it back
		return oauth.Token{}, &oauth.Error{Outcome: oauth.Unsent, Code: "no_such_provider"}
	case g.secret == nil:
		return oauth.Token{}, &oauth.Error{Outcome: oauth.Refused, Code: "no_refresh_token"}
	}
	return p.Refresh(ctx, *g.secret)
}

// keep stores a token, trying again for as long as its claim holds where the disk can't take it: the provider may
// have given up the old refresh token for the one that is in memory only.
func (r *renewer) keep(ctx context.Context, g renewal, token oauth.Token) error {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	defer token.Access.Wipe()
	defer token.Refresh.Wipe()
	for {
		err := r.store.storeRenewal(ctx, g, token)
		if err == nil || !errors.Is(err, api.ErrUnavailable) {
			return err
		}
		r.log.Error().Err(err).Str("secret_id", g.secretID).Msg("a new token can't be stored; trying again")
		select {
		case <-r.store.closed:
			return err
		default:
		}
		if delay.Sleep(ctx, storePause) != nil {
			return err
		}
	}
}

// freshen renews the tokens of a resource that have expired and could be renewed, as after a night without the vault,
// and waits for them, but not for long: a provider that is down doesn't hold up the others' values.
func (r *renewer) freshen(ctx context.Context, a Actor, resource api.Resource) error {
	if !r.any.Load() || a.Resource == nil || *a.Resource != resource {
		return nil // what may not be revealed is refused further on
	}
	stale, err := r.store.staleGrants(ctx, a, resource)
	if err != nil || len(stale) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, renewPatience)
	defer cancel()
	var all []<-chan singleflight.Result
	for _, g := range stale {
		all = append(all, r.begin(ctx, g.tenant, g.secretID, g.version))
	}
	for _, renewed := range all {
		select {
		case <-renewed: // how it went is on the secret
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
