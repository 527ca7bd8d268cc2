package vault

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// A renewal goes through these steps; a crash between any two of them loses nothing:
//
//  1. claimed: a transaction takes the grant for a while, and counts one more request whose answer isn't known;
//  2. the provider is asked. It may give the old refresh token up for a new one at this moment;
//  3. stored: one transaction writes the token, the new refresh token, and that everything is known again.
//
// Where a process ends between 1 and 3, the claim runs out and another one asks again with the old refresh token,
// which is still there.

// RenewerKeyID stands in the audit for the vault itself, which renews tokens.
const RenewerKeyID = "oauth"

// claimTime is longer than a renewal takes: finding the provider and asking it, 15 seconds each, and storing.
const claimTime = time.Minute

// renewal is a claimed grant, with what is needed to ask the provider.
type renewal struct {
	tenant, secretID string
	grant
	version int64
	row     secretRow
	secret  *api.Value // the refresh token, or the client's secret; nil: there is none
}

var (
	errRenewed    = errors.New("the token has been renewed, or isn't to be")
	errBeingTaken = errors.New("another process renews the token")
)

func renewerOf(tenant string) Actor {
	return Actor{KeyID: RenewerKeyID, TenantID: tenant, local: true}
}

// claimRenewal takes a grant that is due. Errors: errRenewed when the secret has another version than seen (0: any),
// or nothing is due; errBeingTaken.
func (s *Store) claimRenewal(ctx context.Context, tenant, secretID string, seen int64) (r renewal, err error) {
	refused := error(nil)
	err = s.write(ctx, renewerOf(tenant), func(t *txn) error {
		refused = nil
		g, err := t.grant(secretID)
		if err != nil {
			return err
		}
		row, err := t.secret(secretID)
		if errors.Is(err, api.ErrNotFound) || err == nil && (g == nil || seen != 0 && row.version != seen) {
			refused = errRenewed
			return nil
		}
		if err != nil {
			return err
		}
		switch now := t.now.UnixMicro(); {
		case g.claimedUntil > now:
			refused = errBeingTaken
			return nil
		case !g.due.Valid || g.due.Int64 > now:
			refused = errRenewed
			return nil
		}
		keys, err := t.keys(tenant)
		if err != nil {
			return err
		}
		r = renewal{tenant: tenant, secretID: secretID, grant: *g, version: row.version, row: row}
		if r.secret, err = t.refreshToken(keys, row); err != nil {
			return err
		}
		r.claim, r.claimedUntil = rand.Text(), t.now.Add(claimTime).UnixMicro()
		r.unclear++
		return t.writeGrant(secretID, r.grant)
	})
	if err == nil {
		err = refused
	}
	return r, err
}

// storeRenewal writes the token that a renewal gave. Where the secret was rotated meanwhile, its new value stays; the
// new refresh token takes the old one's place all the same, unless that was replaced too.
func (s *Store) storeRenewal(ctx context.Context, r renewal, token oauth.Token) error {
	refresh := &token.Refresh
	if r.provider == "" {
		refresh = r.secret // the client's own, as before
	} else if refresh.Len() == 0 {
		refresh = nil
	}
	return s.write(ctx, renewerOf(r.tenant), func(t *txn) error {
		row, err := t.secret(r.secretID)
		if errors.Is(err, api.ErrNotFound) {
			return nil // deleted meanwhile: the token is dropped
		}
		if err != nil {
			return err
		}
		keys, err := t.keys(r.tenant)
		if err != nil {
			return err
		}
		if row.version != r.version {
			return t.replaceRefresh(keys, row, r.secret, refresh)
		}
		row.expires = micros(token.ExpiresAt)
		row.metadata = withOAuth(row.metadata, api.OAuthConnected, "")
		if err := t.rotate(keys, &row, token.Access, refresh); err != nil {
			return err
		}
		return t.setGrant(row, &r.grant)
	})
}

// replaceRefresh puts a refresh token in the place of the one that was used up, in a version that stays the same.
func (t *txn) replaceRefresh(keys *keyring.Keys, row secretRow, used, refresh *api.Value) error {
	now, err := t.refreshToken(keys, row)
	if err != nil || now == nil || used == nil || refresh == nil || !now.Equal(*used) {
		return err
	}
	err = t.QueryRow(`SELECT value, preview FROM secrets WHERE id = $1`, row.id).Scan(&row.value, &row.preview)
	if err != nil {
		return err
	}
	if row.refresh, err = keys.Seal([]byte(refresh.Reveal()), row.id, row.version, fieldRefresh); err != nil {
		return err
	}
	return t.reseal(keys, row)
}

// Pauses before the next try. The first after a lost answer comes soon: providers that keep an old refresh token good
// for a moment, so that a lost answer does no harm, keep it for seconds.
const (
	afterUnclear = 2 * time.Second
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
)

// failRenewal notes a renewal that gave no token, and when to try again. The value, and the refresh token, stay.
//
//   - Refused, and it is the consent that is gone: reconnect_required, and no more tries.
//   - Refused, and it is the vault's own registration: retrying, since an operator can fix that.
//   - Unsent: retrying, with growing pauses.
//   - Unclear: once more, soon. When that is unclear too, reconnect_required; the tries go on with growing pauses,
//     and one that works makes it connected again.
func (s *Store) failRenewal(ctx context.Context, r renewal, failed *oauth.Error) (status string, err error) {
	err = s.write(ctx, renewerOf(r.tenant), func(t *txn) error {
		g, err := t.grant(r.secretID)
		if err != nil || g == nil || g.claim != r.claim {
			return err // deleted, rotated, or claimed by another since: theirs to say
		}
		row, err := t.secret(r.secretID)
		if err != nil {
			return err
		}
		next := *g
		next.claim, next.claimedUntil, next.failures = "", 0, g.failures+1
		pause := pauseAfter(g.failures, failed.RetryAfter)
		status = api.OAuthRetrying
		switch failed.Outcome {
		case oauth.Refused:
			next.unclear = 0
			if failed.Grant() {
				status = api.OAuthReconnect
			}
		case oauth.Unsent:
			next.unclear = g.unclear - 1
			if next.unclear > 1 {
				status = api.OAuthReconnect
			}
		case oauth.Unclear:
			if g.unclear == 1 {
				pause = max(afterUnclear, failed.RetryAfter)
			} else {
				status = api.OAuthReconnect
			}
		}
		at := t.now.Add(pause)
		next.due = micros(&at)
		if failed.Outcome == oauth.Refused && failed.Grant() {
			next.due = micros(nil)
		}
		if err := t.writeGrant(r.secretID, next); err != nil {
			return err
		}
		before := oauthOf(row.metadata)
		if before.Status == status && before.Error == failed.Code {
			return nil // said already: a provider that is down for a day doesn't fill the audit
		}
		if err := t.setHealth(row, status, failed.Code); err != nil {
			return err
		}
		outcome := api.OutcomeFailed
		if failed.Outcome == oauth.Refused {
			outcome = api.OutcomeDenied
		}
		return t.audit(api.Event{Action: actOAuthRefresh, Outcome: outcome, Detail: r.called() + ": " + failed.Code,
			SecretID: row.id, Version: row.version, ResourceType: row.resource.Type, ResourceID: row.resource.ID})
	})
	return status, err
}

// pauseAfter returns the pause before the next try. failures is how many others failed in a row before the one that asked
// for this long.
func pauseAfter(failures int64, asked time.Duration) time.Duration {
	pauses := delay.NewBackoff(firstPause, longestPause)
	for range min(failures, 10) { // then they are the longest
		pauses.Next()
	}
	return pauses.NextRandom(asked)
}

// called names where the token is from.
func (r renewal) called() string {
	if r.provider == "" {
		return "client credentials"
	}
	return r.provider
}

// machineOf reads what a secret's metadata says of its client.
func machineOf(metadata string) (m oauth.Machine, err error) {
	var all struct {
		OAuth oauth.Machine `json:"oauth"`
	}
	if err := json.Unmarshal([]byte(metadata), &all); err != nil {
		return m, api.NewError(api.ErrInvalid, "metadata.oauth must be an object with token_url, client_id and scopes, a list of texts")
	}
	return all.OAuth, all.OAuth.Validate()
}

// dueRenewals lists grants that are due and nobody's, the longest due first, and when the next one is.
func (s *Store) dueRenewals(ctx context.Context, most int) (due []renewal, next *time.Time, err error) {
	err = s.read(ctx, Actor{local: true}, func(t *txn) error {
		due, next = nil, nil
		rows, err := t.Query(`SELECT tenant_id, secret_id FROM oauth_grants
			WHERE due_at <= $1 AND claimed_until <= $1 ORDER BY due_at LIMIT $2`, t.now.UnixMicro(), most)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var r renewal
			if err := rows.Scan(&r.tenant, &r.secretID); err != nil {
				return err
			}
			due = append(due, r)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		next, err = t.nextRenewal()
		return err
	})
	return due, next, err
}

// staleGrants lists the secrets bound to a resource that have expired and can be renewed now.
func (s *Store) staleGrants(ctx context.Context, a Actor, r api.Resource) (stale []renewal, err error) {
	err = s.read(ctx, a, func(t *txn) error {
		stale = nil
		rows, err := t.Query(`SELECT s.id, s.version FROM bindings b JOIN secrets s ON s.id = b.secret_id
			JOIN oauth_grants g ON g.secret_id = s.id
			WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND s.expires_at <= $4 AND g.due_at <= $4`,
			a.TenantID, r.Type, r.ID, t.now.UnixMicro())
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			g := renewal{tenant: a.TenantID}
			if err := rows.Scan(&g.secretID, &g.version); err != nil {
				return err
			}
			stale = append(stale, g)
		}
		return rows.Err()
	})
	return stale, err
}
