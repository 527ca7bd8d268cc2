package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// Grant says how the vault refreshes a secret's value.
type Grant struct {
	Provider string // the OAuth provider that the refresh token is from; "": client credentials

	Rule *api.EgressRule // of a new secret that is stored without one; it isn't stored with the schedule
}

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
		var known, ripe conditions
		known.in("provider", providers)
		known.add("due_at IS NOT NULL AND (CASE WHEN due_at > claimed_until THEN due_at ELSE claimed_until END) >", t.now.UnixMicro())
		err := t.QueryRow(`SELECT MIN(CASE WHEN due_at > claimed_until THEN due_at ELSE claimed_until END)
			FROM oauth_grants`+known.String(), known.args...).Scan(stored{&next})
		if err != nil {
			return nil, err
		}
		ripe.in("provider", providers)
		ripe.add("due_at <=", t.now.UnixMicro())
		ripe.add("claimed_until <=", t.now.UnixMicro())
		for _, id := range except {
			ripe.add("secret_id <>", id)
		}
		return collect(t, refreshFields, `SELECT `+refreshColumns+` FROM (
			SELECT tenant_id, secret_id, provider, due_at, ROW_NUMBER() OVER (PARTITION BY tenant_id, provider ORDER BY due_at) AS place
			FROM oauth_grants`+ripe.String()+`) g
			JOIN secrets s ON s.id = g.secret_id WHERE g.place <= `+strconv.Itoa(maxDueOfEach)+`
			ORDER BY g.place, g.due_at LIMIT `+strconv.Itoa(maxDue), ripe.args...)
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
