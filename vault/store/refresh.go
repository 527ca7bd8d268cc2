package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/query"
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

// schedule is a row of oauth_grants: when a secret's value is refreshed, and how that goes.
type schedule struct {
	Grant
	due          *time.Time // nil: never again, or the token doesn't expire
	claimedUntil time.Time  // a process refreshes it until then
	claim        string     // identifies that process
	failures     int64      // in a row
	unclear      int64      // requests with the current token whose result is unknown

	secretID, tenant string
	rowMAC
}

func (s *schedule) columns() columns {
	return columns{
		{"provider", &s.Provider}, {"due_at", &s.due}, {"claimed_until", &s.claimedUntil},
		{"claim", &s.claim}, {"failures", &s.failures}, {"unclear", &s.unclear},
		{"secret_id", &s.secretID}, {"tenant_id", &s.tenant},
	}
}

func (s *schedule) covered() (table, tenant, id string, c columns) {
	return "oauth_grants", s.tenant, s.secretID, s.columns()
}

func (s *schedule) stored() columns { return append(s.columns(), s.rowMAC.column()) }

// schedule returns a secret's schedule; nil if the vault doesn't refresh it.
func (t *txn) schedule(secretID string) (*schedule, error) {
	s, err := one(t, "schedule", func(s *schedule) []any { return s.stored().fields() },
		`SELECT `+new(schedule).stored().names("")+` FROM oauth_grants WHERE secret_id = $1 AND tenant_id = $2`, secretID, t.actor.TenantID)
	if errors.Is(err, api.ErrNotFound) {
		return nil, nil
	}
	return &s, err
}

// setSchedule starts a secret's schedule after its value was set; with nil it ends the schedule.
func (t *txn) setSchedule(r secretRow, g *Grant) error {
	if g == nil {
		return t.Exec(`DELETE FROM oauth_grants WHERE secret_id = $1`, r.ID)
	}
	s := schedule{Grant: *g, claimedUntil: noClaim}
	switch {
	case r.ExpiresAt == nil:
	case r.refresh == nil: // nothing can be done before the token expires; then the failure is reported
		s.due = r.ExpiresAt
	default:
		s.due = new(refreshAt(t.now, *r.ExpiresAt))
	}
	return t.saveSchedule(r.ID, s)
}

// noClaim is schedule.claimedUntil when no process refreshes the secret.
var noClaim = time.UnixMicro(0)

func (t *txn) saveSchedule(secretID string, s schedule) error {
	t.rescheduled = true
	if err := t.Exec(`DELETE FROM oauth_grants WHERE secret_id = $1`, secretID); err != nil {
		return err
	}
	s.secretID, s.tenant = secretID, t.actor.TenantID
	if err := t.authenticate(&s); err != nil {
		return err
	}
	return t.insert("oauth_grants", s.stored())
}

// shortestLife is the shortest life of a token that refreshAt assumes: a provider may return tokens that have expired
// already, and must not get requests continuously because of that.
const shortestLife = time.Second

// refreshAt is when a token is refreshed: at a random time between 70 and 85 % of its life, so that tokens that were
// issued together aren't refreshed together, and there is time to try again.
func refreshAt(now, expires time.Time) time.Time {
	life := max(expires.Sub(now), shortestLife)
	const from, spread = 70, 15
	return now.Add(life / 100 * from).Add(delay.Random(life / 100 * spread))
}

// maxDue is how many schedules DueRefreshes lists, and how many of them are of one tenant and provider.
const (
	maxDue       = 256
	maxDueOfEach = 8
)

// refreshColumns are those of DueRefreshes and ExpiredTokens, of secrets s and oauth_grants g.
const refreshColumns = `g.tenant_id, g.secret_id, s.version, g.provider, s.metadata`

func refreshFields(r *Refresh) []any {
	return []any{&r.Tenant, &r.SecretID, &r.Version, &r.Provider, stored{&r.Metadata}}
}

// DueRefreshes lists the secrets whose refresh is due and unclaimed: the longest due of each tenant and provider first,
// so that a tenant with many hides no other's. It lists client credentials, and accounts at the given providers, except given
// secrets. next is when the next one of their schedules will be due and unclaimed; nil: there is none.
func (s *Store) DueRefreshes(ctx context.Context, providers, except []string) (due []Refresh, next *time.Time, err error) {
	providers = append([]string{""}, providers...)
	due, err = read(ctx, s, Actor{local: true}, anyKey, func(t *txn) ([]Refresh, error) {
		var known, isDue query.Conditions
		known.In("provider", providers)
		known.Add("due_at IS NOT NULL AND (CASE WHEN due_at > claimed_until THEN due_at ELSE claimed_until END) >", t.now.UnixMicro())
		err := t.QueryRow(`SELECT MIN(CASE WHEN due_at > claimed_until THEN due_at ELSE claimed_until END)
			FROM oauth_grants`+known.String(), known.Args...).Scan(stored{&next})
		if err != nil {
			return nil, err
		}
		isDue.In("provider", providers)
		isDue.Add("due_at <=", t.now.UnixMicro())
		isDue.Add("claimed_until <=", t.now.UnixMicro())
		for _, id := range except {
			isDue.Add("secret_id <>", id)
		}
		return collect(t, refreshFields, `SELECT `+refreshColumns+` FROM (
			SELECT tenant_id, secret_id, provider, due_at, ROW_NUMBER() OVER (PARTITION BY tenant_id, provider ORDER BY due_at) AS place
			FROM oauth_grants`+isDue.String()+`) g
			JOIN secrets s ON s.id = g.secret_id WHERE g.place <= `+strconv.Itoa(maxDueOfEach)+`
			ORDER BY g.place, g.due_at LIMIT `+strconv.Itoa(maxDue), isDue.Args...)
	})
	return due, next, err
}

// UnknownProviders lists the providers of due schedules that aren't among the given ones.
func (s *Store) UnknownProviders(ctx context.Context, providers []string) ([]string, error) {
	return read(ctx, s, Actor{local: true}, anyKey, func(t *txn) (unknown []string, err error) {
		all, err := collect(t, itself, `SELECT DISTINCT provider FROM oauth_grants WHERE due_at <= $1 AND provider <> '' ORDER BY provider`,
			t.now.UnixMicro())
		return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(providers, name) }), err
	})
}

// Refreshed returns a secret that the vault refreshes, and what its token is from. Errors: ErrNotFound.
func (s *Store) Refreshed(ctx context.Context, tenant, secretID string) (Refresh, error) {
	return read(ctx, s, refreshActor(tenant), anyKey, func(t *txn) (Refresh, error) {
		return one(t, "refreshed secret", refreshFields, `SELECT `+refreshColumns+` FROM oauth_grants g JOIN secrets s ON s.id = g.secret_id
			WHERE g.secret_id = $1 AND g.tenant_id = $2`, secretID, tenant)
	})
}

// ExpiredTokens lists the secrets that are bound to a resource, have expired, and can be refreshed now.
func (s *Store) ExpiredTokens(ctx context.Context, a Actor, r api.Resource) ([]Refresh, error) {
	return read(ctx, s, a, anyKey, func(t *txn) ([]Refresh, error) {
		return collect(t, refreshFields, `SELECT `+refreshColumns+` FROM bindings b JOIN secrets s ON s.id = b.secret_id
			JOIN oauth_grants g ON g.secret_id = s.id
			WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND s.expires_at <= $4 AND g.due_at <= $4`,
			a.TenantID, r.Type, r.ID, t.now.UnixMicro())
	})
}
