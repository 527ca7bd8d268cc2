package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// A refresh has these steps. A crash between any two of them loses nothing:
//
//  1. ClaimRefresh: a transaction claims the schedule for some time, and counts one more request with unknown result.
//  2. The provider is asked. At this moment it may replace the old refresh token by a new one.
//  3. StoreRefresh: one transaction stores the token and the new refresh token, and clears the count.
//
// If a process ends between 1 and 3, its claim expires, and another one asks again with the old refresh token, which
// is still stored.

// ClaimTime is longer than a refresh takes: discovery and the token request, 15 seconds each, and storing.
const ClaimTime = time.Minute

// Refresh is a claimed schedule, and what the request for a token needs.
type Refresh struct {
	Tenant, SecretID string
	Version          int64
	Provider         string          // "": client credentials
	Secret           api.Value       // the refresh token, or the client's secret; empty: there is none
	Metadata         json.RawMessage // the secret's
	Urgent           bool            // the last response was lost: a provider accepts the old refresh token for seconds only

	claim string
}

// Host identifies the server that the token is requested from, and owner the tenant that has named it; "": the operator.
func (r Refresh) Host() (owner, host string) {
	if r.Provider == "" {
		return r.Tenant, oauth.TokenHost(r.Metadata)
	}
	return "", "provider " + r.Provider
}

// Source names where the token is from.
func (r Refresh) Source() string {
	if r.Provider == "" {
		return "client credentials"
	}
	return r.Provider
}

// The errors of ClaimRefresh.
var (
	ErrNotDue  = api.NewError(api.ErrConflict, "the token is fresh, or not refreshed")
	ErrClaimed = api.NewError(api.ErrConflict, "another process refreshes the token")
)

func refreshActor(tenant string) Actor { return Actor{KeyID: "oauth", TenantID: tenant, local: true} }

// ClaimRefresh claims a schedule that is due, and counts the change that it leads to. version is the version to replace; 0: any.
// Errors: ErrNotDue, also for another version; ErrClaimed; ErrRateLimited if the tenant changes too much.
func (s *Store) ClaimRefresh(ctx context.Context, tenant, secretID string, version int64) (r Refresh, err error) {
	err = s.write(ctx, refreshActor(tenant), anyKey, func(t *txn) error {
		plan, err := t.schedule(secretID)
		if err != nil {
			return err
		}
		if plan == nil { // the secret may be deleted
			return ErrNotDue
		}
		row, err := t.secret(secretID)
		switch {
		case err != nil:
			return err
		case version != 0 && row.Version != version:
			return ErrNotDue
		case plan.claimedUntil.After(t.now):
			return ErrClaimed
		case plan.due == nil || plan.due.After(t.now):
			return ErrNotDue
		}
		if err := s.limits.Write(tenant, 0); err != nil { // now, since the token that is requested must be stored
			return err
		}
		if err := s.limits.Event(tenant); err != nil {
			return err
		}
		plan.claim, plan.claimedUntil = rand.Text(), t.now.Add(ClaimTime)
		r = Refresh{Tenant: tenant, SecretID: secretID, Version: row.Version, Provider: plan.Provider, Metadata: row.Metadata,
			Urgent: plan.unclear == 1, claim: plan.claim}
		plan.unclear++
		if r.Secret, err = t.refreshToken(row); err != nil {
			return err
		}
		return t.saveSchedule(secretID, *plan)
	})
	return r, err
}

// StoreRefresh stores the token that a refresh returned. If the secret was rotated meanwhile, its new value stays; the
// new refresh token still replaces the old one, unless that was replaced too.
// Errors: ErrInvalid for client credentials whose token is longer than the tenant may store: the tenant has chosen who returns it.
func (s *Store) StoreRefresh(ctx context.Context, r Refresh, token oauth.Token) error {
	refresh := token.Refresh
	if r.Provider == "" {
		refresh = r.Secret // the client's secret stays
	}
	s.limits.Written(r.Tenant, token.Access.Len()+refresh.Len())
	return s.write(ctx, refreshActor(r.Tenant), anyKey, func(t *txn) error {
		row, err := t.secret(r.SecretID)
		if errors.Is(err, api.ErrNotFound) {
			return nil // deleted meanwhile: the token is dropped
		}
		if err != nil {
			return err
		}
		if row.Version != r.Version {
			return t.replaceRefreshToken(row, r.Secret, refresh)
		}
		row.ExpiresAt = inMicros(token.ExpiresAt)
		row.Metadata = oauth.WithStatus(row.Metadata, api.OAuthConnected, "")
		before, err := t.bytesStored()
		if err == nil {
			err = t.rotate(&row, token.Access, refresh)
		}
		if err != nil {
			return err
		}
		after, err := t.bytesStored()
		if err == nil && r.Provider == "" && after > before {
			err = s.limits.Values.Check(limit.TenantBytes, after)
		}
		if err != nil {
			return err
		}
		return t.setSchedule(row, &Grant{Provider: r.Provider})
	})
}

// replaceRefreshToken replaces the used refresh token of a row by a new one. The version stays.
func (t *txn) replaceRefreshToken(row secretRow, used, refresh api.Value) error {
	current, err := t.refreshToken(row)
	defer current.Wipe()
	if err != nil || current.Len() == 0 || refresh.Len() == 0 || !current.Equal(used) {
		return err
	}
	keys, err := t.keys()
	if err != nil {
		return err
	}
	if err = t.QueryRow(`SELECT value FROM secrets WHERE id = $1`, row.ID).Scan(&row.value); err != nil {
		return err
	}
	if row.refresh, err = keys.SealValue(refresh, row.ID, row.Version, fieldRefresh); err != nil {
		return err
	}
	return t.reseal(row)
}

// Pauses before the next try. The first after a lost response is short: providers that accept an old refresh token
// again, so that a lost response does no harm, do so for seconds.
const (
	afterUnclear = 2 * time.Second
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
)

// FailRefresh records a refresh without a token, and when to try again. The value and the refresh token stay. It returns
// the connection's status; "" if the schedule has changed since.
//
//   - Refused, and the user's consent is gone: reconnect_required, and no more tries.
//   - Refused, and the vault's registration is wrong: retrying, since an operator can fix that.
//   - Unsent: retrying, with growing pauses.
//   - Unclear: one more try, soon. If that is unclear too, reconnect_required; tries continue with growing pauses,
//     and the first that succeeds sets connected.
func (s *Store) FailRefresh(ctx context.Context, r Refresh, failed *oauth.Error) (status string, err error) {
	err = s.write(ctx, refreshActor(r.Tenant), anyKey, func(t *txn) error {
		plan, err := t.schedule(r.SecretID)
		if err != nil || plan == nil || plan.claim != r.claim {
			return err // deleted, rotated, or claimed by another process since
		}
		row, err := t.secret(r.SecretID)
		if err != nil {
			return err
		}
		pause := refreshPause(plan.failures)
		status = api.OAuthRetrying
		gone := failed.Outcome == oauth.Refused && failed.GrantRefused()
		switch failed.Outcome {
		case oauth.Refused:
			plan.unclear = 0
			if gone {
				status = api.OAuthReconnect
			}
		case oauth.Unsent:
			plan.unclear--
			if plan.unclear > 1 {
				status = api.OAuthReconnect
			}
		case oauth.Unclear:
			if plan.unclear == 1 {
				pause = afterUnclear
			} else {
				status = api.OAuthReconnect
			}
		}
		plan.claim, plan.claimedUntil, plan.failures, plan.due = "", noClaim, plan.failures+1, nil
		if !gone {
			plan.due = new(t.now.Add(max(pause, failed.RetryAfter)))
		}
		if err := t.saveSchedule(r.SecretID, *plan); err != nil {
			return err
		}
		before := oauth.ConnectionOf(row.Metadata)
		if before.Status == status && before.Error == failed.Code {
			return nil // recorded already: a provider that is down for a day doesn't fill the audit
		}
		row.Metadata = oauth.WithStatus(row.Metadata, status, failed.Code)
		if err := t.authenticate(&row); err != nil {
			return err
		}
		if err := t.updateSecret(row.ID, columns{{"metadata", &row.Metadata}, row.rowMAC.column()}); err != nil {
			return err
		}
		e := secretEvent(actOAuthRefresh, row)
		e.Outcome, e.Detail = api.OutcomeFailed, r.Source()+": "+failed.Code
		if failed.Outcome == oauth.Refused {
			e.Outcome = api.OutcomeDenied
		}
		return t.audit(e)
	})
	return status, err
}

// refreshPause doubles from firstPause to longestPause, minus up to a quarter.
func refreshPause(failures int64) time.Duration {
	d := min(firstPause<<min(failures, 10), longestPause)
	return d - delay.Random(d/4)
}

// Rescheduled is sent to after a change of the schedules. It has one receiver.
func (s *Store) Rescheduled() <-chan struct{} { return s.rescheduled }
