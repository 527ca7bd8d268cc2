package vault

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// The state of a flow in the store. flowExchanging is pending to everybody else: its code is on the way to the
// provider, and can't be used again.
const flowExchanging = "exchanging"

// exchangeTime is longer than an exchange takes. A flow that is exchanging for longer was broken off, with its
// process.
const exchangeTime = time.Minute

// flowsKept is how long ended flows can be looked up.
const flowsKept = 24 * time.Hour

// Words that end a flow and aren't the provider's.
const (
	flowExpired     = "expired"
	flowInterrupted = "interrupted"
)

// secretOf is the secret, and binding, that a flow is to make.
func secretOf(a api.OAuthSecret, provider string) PutSecret {
	return PutSecret{
		Name: provider, Type: typeConnect, Scope: cmp.Or(a.Scope, "user"), OwnerUserID: a.OwnerUserID,
		ExternalUserID: a.ExternalUserID, ExternalWorkspaceID: a.ExternalWorkspaceID,
		ResourceID: a.ResourceID, ResourceType: a.ResourceType, ExposeAsEnv: a.ExposeAsEnv,
		grant: &grant{provider: provider},
	}
}

// flow is one user's way to a provider and back.
type flow struct {
	id, tenant, provider, redirectURI string
	asked                             string // JSON
	keyID                             string
	status, err, secretID             string
	salt                              []byte
	created, expires, updated         int64
}

// newFlow makes a flow and its state.
func newFlow(a Actor, provider, redirectURI string, want api.OAuthSecret, now time.Time, life time.Duration) (f flow, state string) {
	random := make([]byte, 64)
	_, _ = rand.Read(random) // it never fails
	return flow{
		id: newID("flw_"), tenant: a.TenantID, provider: provider, redirectURI: redirectURI, keyID: a.KeyID,
		asked: string(jsonOf(want)), status: api.FlowPending, salt: random[32:],
		created: now.UnixMicro(), expires: now.Add(life).UnixMicro(), updated: now.UnixMicro(),
	}, base64.RawURLEncoding.EncodeToString(random[:32])
}

// verifier is the flow's PKCE verifier (RFC 7636). It stands nowhere: it takes the state, which only the browser
// brings, and the salt, which only the store has. Since it is made of everything the flow is bound to, the
// provider refuses the code of a flow that was altered in the store.
func (f flow) verifier(state string) string {
	m := hmac.New(sha256.New, f.salt)
	m.Write(api.Frame("miosa-vault pkce", state, f.id, f.tenant, f.provider, f.redirectURI, f.asked))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func hashState(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:])
}

// standing is the flow's status as it is told: words of api.OAuthStatus, and the error's word.
func (f flow) standing(now time.Time) (status, word string) {
	switch {
	case f.status == flowExchanging && now.UnixMicro() > f.updated+exchangeTime.Microseconds():
		return api.FlowFailed, flowInterrupted
	case f.status == flowExchanging:
		return api.FlowPending, ""
	case f.status == api.FlowPending && now.UnixMicro() >= f.expires:
		return api.FlowFailed, flowExpired
	}
	return f.status, f.err
}

// addFlow stores a flow, audits it, and forgets those that ended long ago. What couldn't be bound at its end is
// refused now. Errors: ErrConflict.
func (s *Store) addFlow(ctx context.Context, a Actor, f flow, state string, want api.OAuthSecret) error {
	return s.write(ctx, a, func(t *txn) error {
		if want.ExposeAsEnv != "" && want.ResourceID != "" {
			if err := t.mayBind(f.provider, want); err != nil {
				return err
			}
		}
		if err := t.Exec(`DELETE FROM oauth_flows WHERE created_at < $1`, t.now.Add(-flowsKept).UnixMicro()); err != nil {
			return err
		}
		err := t.Exec(`INSERT INTO oauth_flows (id, tenant_id, state_hash, salt, provider, redirect_uri, asked, key_id, status,
			error, secret_id, created_at, expires_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', '', $10, $11, $12)`,
			f.id, f.tenant, hashState(state), f.salt, f.provider, f.redirectURI, f.asked, f.keyID, f.status, f.created, f.expires, f.updated)
		if err != nil {
			return err
		}
		return t.audit(api.Event{Action: actOAuthStart, Detail: f.provider, ResourceType: want.ResourceType, ResourceID: want.ResourceID})
	})
}

// mayBind refuses a variable that another secret has on that resource; the secret the flow is to replace may have it.
func (t *txn) mayBind(provider string, want api.OAuthSecret) error {
	p := secretOf(want, provider)
	var upsertKey string
	err := t.QueryRow(`SELECT s.upsert_key FROM bindings b JOIN secrets s ON s.id = b.secret_id
		WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND b.env_name = $4`,
		t.actor.TenantID, p.ResourceType, p.ResourceID, p.ExposeAsEnv).Scan(&upsertKey)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err == nil && upsertKey != p.row().upsertKey():
		return errNameTaken
	}
	return err
}

const flowColumns = `id, tenant_id, salt, provider, redirect_uri, asked, key_id, status, error, secret_id, created_at, expires_at, updated_at`

var errOAuthGone = api.NewError(api.ErrNotFound, "no such flow")

// flow reads the one that a state names, of the actor's tenant, or of any where the actor has none: who brings
// the state has shown enough. Errors: ErrNotFound.
func (t *txn) flow(state string) (f flow, err error) {
	q := where{}
	q.equal("state_hash", hashState(state))
	q.equalIfSet("tenant_id", t.actor.TenantID)
	err = t.QueryRow(`SELECT `+flowColumns+` FROM oauth_flows`+q.String(), q.args...).
		Scan(&f.id, &f.tenant, &f.salt, &f.provider, &f.redirectURI, &f.asked, &f.keyID, &f.status, &f.err, &f.secretID, &f.created, &f.expires, &f.updated)
	if errors.Is(err, sql.ErrNoRows) {
		return f, errOAuthGone
	}
	return f, err
}

// Flow tells how a flow is going. Errors: ErrNotFound, for another tenant's too.
func (s *Store) Flow(ctx context.Context, a Actor, state string) (o api.OAuthStatus, err error) {
	if err := s.tenantOnly(ctx, a, actOAuthRead); err != nil {
		return o, err
	}
	err = s.read(ctx, a, func(t *txn) error {
		f, err := t.flow(state)
		if err != nil {
			return err
		}
		o = api.OAuthStatus{Provider: f.provider, SecretID: f.secretID, ExpiresAt: fromMicros(f.expires)}
		o.Status, o.Error = f.standing(t.now)
		return nil
	})
	return o, err
}

// errFlowOver says that a flow can't be ended again; the flow says how it stands.
var errFlowOver = errors.New("the flow has ended")

// findFlow finds the flow of a browser that comes back. Errors: ErrNotFound; errFlowOver, with the flow.
func (s *Store) findFlow(ctx context.Context, state string) (f flow, err error) {
	err = s.read(ctx, Actor{local: true}, func(t *txn) error {
		if f, err = t.flow(state); err != nil {
			return err
		}
		return f.open(t.now)
	})
	return f, err
}

func (f flow) open(now time.Time) error {
	if status, _ := f.standing(now); status != api.FlowPending || f.status != api.FlowPending {
		return errFlowOver
	}
	return nil
}

// actor is on whose behalf a flow goes on: the key that began it, which must still stand.
func (f flow) actor(from Actor) Actor {
	from.KeyID, from.TenantID = f.keyID, f.tenant
	return from
}

// takeFlow makes a flow's code this call's alone. Errors: errFlowOver where another call had it, ErrUnauthorized where
// the key that began it is gone.
func (s *Store) takeFlow(ctx context.Context, from Actor, f flow) error {
	over := false
	err := s.write(ctx, f.actor(from), func(t *txn) error {
		status, err := t.flowStatus(f.id)
		if err != nil {
			return err
		}
		if over = status != api.FlowPending; over {
			return nil
		}
		return t.Exec(`UPDATE oauth_flows SET status = $1, updated_at = $2 WHERE id = $3`, flowExchanging, t.now.UnixMicro(), f.id)
	})
	if err == nil && over {
		return errFlowOver
	}
	return err
}

// endFlow ends a flow that gave nothing, unless it has ended. It works without the key that began it.
func (s *Store) endFlow(ctx context.Context, from Actor, f flow, status, word string) error {
	a := f.actor(from)
	a.local = true
	return s.write(ctx, a, func(t *txn) error {
		now, err := t.flowStatus(f.id)
		if err != nil || now != api.FlowPending && now != flowExchanging {
			return err
		}
		if err := t.Exec(`UPDATE oauth_flows SET status = $1, error = $2, updated_at = $3 WHERE id = $4`,
			status, word, t.now.UnixMicro(), f.id); err != nil {
			return err
		}
		outcome := api.OutcomeFailed
		if status == api.FlowDenied {
			outcome = api.OutcomeDenied
		}
		return t.audit(api.Event{Action: actOAuthCallback, Outcome: outcome, Detail: f.provider + ": " + word})
	})
}

func (t *txn) flowStatus(id string) (status string, err error) {
	err = t.QueryRow(`SELECT status FROM oauth_flows WHERE id = $1`, id).Scan(&status)
	return status, err
}

// completeFlow stores what a flow gave, bound where that was asked for, and ends it, all of it or nothing.
// Errors: as PutSecret; ErrUnauthorized where the key that began it is gone.
func (s *Store) completeFlow(ctx context.Context, from Actor, f flow, p PutSecret) error {
	if err := p.complete(); err != nil {
		return err
	}
	return s.write(ctx, f.actor(from), func(t *txn) error {
		secret, _, _, err := t.put(p)
		if err != nil {
			return err
		}
		if err := t.Exec(`UPDATE oauth_flows SET status = $1, secret_id = $2, updated_at = $3 WHERE id = $4`,
			api.FlowCompleted, secret.ID, t.now.UnixMicro(), f.id); err != nil {
			return err
		}
		return t.audit(api.Event{Action: actOAuthCallback, Detail: f.provider, SecretID: secret.ID, Version: secret.Version,
			ResourceType: p.ResourceType, ResourceID: p.ResourceID})
	})
}

// wants reads what the flow is to make.
func (f flow) wants() (want api.OAuthSecret, err error) {
	if err := json.Unmarshal([]byte(f.asked), &want); err != nil {
		return want, internal("flow " + f.id + " can't be read")
	}
	return want, nil
}
