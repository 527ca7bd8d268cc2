package store

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// flowExchanging is the stored status of a flow whose code was sent to the provider. The code can't be used again.
// Clients see api.FlowPending.
const flowExchanging = "exchanging"

// exchangeTime is longer than an exchange takes. A flow that is exchanging for longer was interrupted: its process ended.
const exchangeTime = time.Minute

// flowsKept is how long ended flows can be looked up.
const flowsKept = 24 * time.Hour

// flowsOfEach is how many flows of a tenant are kept for each one that may be pending. Beyond that, the oldest that aren't
// pending are deleted.
const flowsOfEach = 10

// flowBatch is how many flows one transaction deletes: others write in between.
const flowBatch = 1000

// ConnectedSecret is the secret that connecting an account creates, without its value.
func ConnectedSecret(s api.OAuthSecret, provider string) api.NewSecret {
	return api.NewSecret{
		Name: provider, Type: oauth.TypeAccount, Scope: cmp.Or(s.Scope, "user"), OwnerUserID: s.OwnerUserID,
		ExternalUserID: s.ExternalUserID, ExternalWorkspaceID: s.ExternalWorkspaceID,
		Resource: api.Resource{Type: s.ResourceType, ID: s.ResourceID}, ExposeAsEnv: s.ExposeAsEnv, Delivery: s.Delivery,
	}
}

// Wanted is what a flow is to get: the secret, with its binding, and the scopes of the token.
type Wanted struct {
	api.OAuthSecret
	Scopes []string `json:"oauth_scopes,omitempty"` // empty: the provider's
}

// Flow is one attempt of a user to connect an account at a provider (RFC 6749, 4.1).
type Flow struct {
	Provider    string
	RedirectURI string
	ExpiresAt   time.Time

	id, tenant, keyID     string
	wanted                json.RawMessage // a Wanted
	status, err, secretID string
	salt                  []byte
	created, updated      time.Time
	stateHash             string
	rowMAC
}

func (f *Flow) fields() []any { return f.stored().fields() }

func (f *Flow) stored() columns { return append(f.columns(), f.rowMAC.column()) }

func (f *Flow) covered() (table, tenant, id string, c columns) {
	return "oauth_flows", f.tenant, f.id, f.columns()
}

var selectFlows = `SELECT ` + new(Flow).stored().names("") + ` FROM oauth_flows`

func (f *Flow) columns() columns {
	return columns{
		{"id", &f.id}, {"tenant_id", &f.tenant}, {"salt", &f.salt}, {"provider", &f.Provider}, {"redirect_uri", &f.RedirectURI},
		{"asked", &f.wanted}, {"key_id", &f.keyID}, {"status", &f.status}, {"error", &f.err}, {"secret_id", &f.secretID},
		{"created_at", &f.created}, {"expires_at", &f.ExpiresAt}, {"updated_at", &f.updated}, {"state_hash", &f.stateHash},
	}
}

// NewFlow returns a flow that expires after life, and its state. It is not stored yet.
func NewFlow(a Actor, provider, redirectURI string, want Wanted, life time.Duration) (f Flow, state string, err error) {
	wanted, err := json.Marshal(want)
	if err != nil {
		return Flow{}, "", err
	}
	random := make([]byte, 64)
	_, _ = rand.Read(random) // it never fails
	at := now()
	return Flow{
		Provider: provider, RedirectURI: redirectURI, ExpiresAt: at.Add(life),
		id: newID("flw_"), tenant: a.TenantID, keyID: a.KeyID, wanted: wanted, status: api.FlowPending, salt: random[32:],
		created: at, updated: at,
	}, base64.RawURLEncoding.EncodeToString(random[:32]), nil
}

// Verifier is the flow's PKCE verifier (RFC 7636). It is stored nowhere: it takes the state, which only the browser
// has, and the salt, which only the store has. It depends on every property of the flow, so the provider refuses the code
// of a flow that was altered in the store.
func (f Flow) Verifier(state string) string {
	m := hmac.New(sha256.New, f.salt)
	m.Write(api.Frame("miosa-vault pkce", state, f.id, f.tenant, f.Provider, f.RedirectURI, string(f.wanted)))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// ID is the flow's id. It isn't secret.
func (f Flow) ID() string { return f.id }

// Browser is the value of the cookie of the browser in which the flow's user has continued from the vault's page. Like
// Verifier, it takes the state and the salt.
func (f Flow) Browser(state string) string {
	m := hmac.New(sha256.New, f.salt)
	m.Write(api.Frame("miosa-vault browser", state, f.id))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// TenantID is the id of the tenant that started the flow.
func (f Flow) TenantID() string { return f.tenant }

// Status is the flow's status for clients (api.FlowPending and so on), and its error.
func (f Flow) Status() (status, code string) {
	switch now := time.Now(); {
	case f.status == flowExchanging && now.After(f.updated.Add(exchangeTime)):
		return api.FlowFailed, "interrupted"
	case f.status == flowExchanging:
		return api.FlowPending, ""
	case f.status == api.FlowPending && !now.Before(f.ExpiresAt):
		return api.FlowFailed, "expired"
	}
	return f.status, f.err
}

// Wanted is what the flow is to get.
func (f Flow) Wanted() (want Wanted, err error) {
	if json.Unmarshal(f.wanted, &want) != nil {
		err = api.NewError(api.ErrInternal, "flow "+f.id+" can't be read")
	}
	return want, err
}

// actor is the actor of the flow's key, with the address and request of a browser's request.
func (f Flow) actor(from Actor) Actor {
	from.KeyID, from.TenantID = f.keyID, f.tenant
	return from
}

// AddFlow stores and audits a flow, and deletes old ones. Errors: ErrConflict if its binding couldn't be created;
// ErrInvalid if too many flows of the tenant are pending.
func (s *Store) AddFlow(ctx context.Context, a Actor, f Flow, state string) error {
	want, err := f.Wanted()
	if err != nil {
		return err
	}
	return s.write(ctx, a, actOAuthStart, func(t *txn) error {
		n := ConnectedSecret(want.OAuthSecret, f.Provider)
		if err := t.mayUse(actOAuthStart, n.Scope, n.Resource); err != nil {
			return err
		}
		if want.ExposeAsEnv != "" && want.ResourceID != "" {
			if err := cmp.Or(t.mayDo(actBindingCreate, n.Resource), t.mayBind(n)); err != nil {
				return err
			}
		}
		if err := t.makeRoomForFlow(); err != nil {
			return err
		}
		f.stateHash = hashOf(state)
		if err := t.authenticate(&f); err != nil {
			return err
		}
		if err := t.insert("oauth_flows", f.stored()); err != nil {
			return err
		}
		return t.audit(api.Event{Action: actOAuthStart, Detail: f.Provider, ResourceType: want.ResourceType, ResourceID: want.ResourceID})
	})
}

// makeRoomForFlow deletes old flows, and those of the tenant beyond its limit. Errors: ErrInvalid.
func (t *txn) makeRoomForFlow() error {
	if _, err := t.expireFlows(); err != nil {
		return err
	}
	const pending = `status IN ('` + api.FlowPending + `', '` + flowExchanging + `') AND expires_at > $2`
	if err := t.mayAdd(limit.TenantFlows, `SELECT 1 FROM oauth_flows WHERE tenant_id = $1 AND `+pending, t.now.UnixMicro()); err != nil {
		return err
	}
	most := flowsOfEach * int64(t.store.limits.Values.Of(limit.TenantFlows))
	return t.Exec(`DELETE FROM oauth_flows WHERE tenant_id = $1 AND NOT (`+pending+`) AND created_at <=
		(SELECT created_at FROM oauth_flows WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1 OFFSET $3)`,
		t.actor.TenantID, t.now.UnixMicro(), most-1)
}

// expireFlows deletes a batch of flows that have been kept long enough, and returns their number.
func (t *txn) expireFlows() (n int, err error) {
	old, err := collect(t, itself, `SELECT id FROM oauth_flows WHERE created_at < $1 LIMIT $2`, t.now.Add(-flowsKept).UnixMicro(), flowBatch)
	for _, id := range old {
		if err == nil {
			err = t.Exec(`DELETE FROM oauth_flows WHERE id = $1`, id)
		}
	}
	return len(old), err
}

// ExpireFlows deletes the flows that have been kept long enough.
func (s *Store) ExpireFlows(ctx context.Context) error {
	for n := flowBatch; n == flowBatch; {
		err := s.write(ctx, Actor{local: true}, anyKey, func(t *txn) (err error) {
			n, err = t.expireFlows()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mayBind returns ErrConflict if n's variable is bound to a secret that n doesn't replace.
func (t *txn) mayBind(n api.NewSecret) error {
	r := row(n)
	bound, err := collect(t, itself, `SELECT s.upsert_key FROM bindings b JOIN secrets s ON s.id = b.secret_id
		WHERE b.tenant_id = $1 AND b.resource_type = $2 AND b.resource_id = $3 AND b.env_name = $4`,
		t.actor.TenantID, n.Resource.Type, n.Resource.ID, n.ExposeAsEnv)
	if err == nil && len(bound) > 0 && bound[0] != r.upsertKey() {
		return errNameTaken
	}
	return err
}

// flow returns the flow of a state, of the actor's tenant; without a tenant, of any: the state is secret.
// Errors: ErrNotFound.
func (t *txn) flow(state string) (Flow, error) {
	var c query.Conditions
	c.Match("state_hash", hashOf(state), "tenant_id", t.actor.TenantID)
	return one(t, "flow", (*Flow).fields, selectFlows+c.String(), c.Args...)
}

// FlowStatus returns the status of a flow of the actor's tenant. A restricted key gets that of a flow whose secret it may
// use. Errors: ErrNotFound.
func (s *Store) FlowStatus(ctx context.Context, a Actor, state string) (api.OAuthStatus, error) {
	return read(ctx, s, a, actOAuthRead, func(t *txn) (o api.OAuthStatus, err error) {
		f, err := t.flow(state)
		if err != nil {
			return o, err
		}
		want, err := f.Wanted()
		if err != nil {
			return o, err
		}
		if n := ConnectedSecret(want.OAuthSecret, f.Provider); t.mayUse(actOAuthRead, n.Scope, n.Resource) != nil {
			return o, notFound("flow")
		}
		o = api.OAuthStatus{Provider: f.Provider, SecretID: f.secretID, ExpiresAt: f.ExpiresAt}
		o.Status, o.Error = f.Status()
		return o, nil
	})
}

// ErrFlowEnded is the error of a flow that isn't pending any more, or whose code is being exchanged.
var ErrFlowEnded = api.NewError(api.ErrConflict, "the flow has ended")

// FindFlow returns the flow of a browser's state. Errors: ErrNotFound; ErrFlowEnded, with the flow.
func (s *Store) FindFlow(ctx context.Context, state string) (Flow, error) {
	f, err := read(ctx, s, Actor{local: true}, anyKey, func(t *txn) (Flow, error) { return t.flow(state) })
	if status, _ := f.Status(); err == nil && (status != api.FlowPending || f.status != api.FlowPending) {
		err = ErrFlowEnded
	}
	return f, err
}

// TakeFlow reserves the exchange of a flow's code for the caller. Errors: ErrFlowEnded if another call has it;
// ErrUnauthorized if the key that started the flow is no longer valid.
func (s *Store) TakeFlow(ctx context.Context, from Actor, f Flow) error {
	return s.write(ctx, f.actor(from), anyKey, func(t *txn) error {
		current, err := t.flowByID(f.id)
		if err == nil && current.status != api.FlowPending {
			err = ErrFlowEnded
		}
		if err != nil {
			return err
		}
		return t.setFlow(current, flowExchanging, "", "")
	})
}

// EndFlow ends a flow that stored nothing, unless it has ended. It doesn't need the key that started the flow.
func (s *Store) EndFlow(ctx context.Context, from Actor, f Flow, status, code string) error {
	a := f.actor(from)
	a.local = true
	return s.write(ctx, a, anyKey, func(t *txn) error {
		current, err := t.flowByID(f.id)
		if err != nil || current.status != api.FlowPending && current.status != flowExchanging {
			return err
		}
		if err := t.setFlow(current, status, code, ""); err != nil {
			return err
		}
		outcome := api.OutcomeFailed
		if status == api.FlowDenied {
			outcome = api.OutcomeDenied
		}
		return t.audit(api.Event{Action: actOAuthCallback, Outcome: outcome, Detail: f.Provider + ": " + code})
	})
}

func (t *txn) flowByID(id string) (Flow, error) {
	return one(t, "flow", (*Flow).fields, selectFlows+` WHERE id = $1`, id)
}

func (t *txn) setFlow(f Flow, status, code, secretID string) error {
	f.status, f.err, f.secretID, f.updated = status, code, secretID, t.now
	if err := t.authenticate(&f); err != nil {
		return err
	}
	return t.update("oauth_flows", f.id, columns{
		{"status", &f.status}, {"error", &f.err}, {"secret_id", &f.secretID}, {"updated_at", &f.updated}, f.rowMAC.column(),
	})
}

// CompleteFlow stores the secret of a flow, with its binding, and ends the flow, all in one transaction. The secret is a
// new one: it takes the bindings of one of the same name, scope, owners and resource, which is deleted. MIOSA's SDKs
// recognize by a new id that a flow has completed.
// rule says where a broker may send the token, unless the old secret has a rule. nil: nowhere.
// Errors: as PutSecret; ErrUnauthorized if the key that started the flow is no longer valid.
func (s *Store) CompleteFlow(ctx context.Context, from Actor, f Flow, n api.NewSecret, rule *api.EgressRule) error {
	return s.write(ctx, f.actor(from), anyKey, func(t *txn) error {
		r, supplied := row(n), rule
		upsert := r.upsertKey()
		old, err := one(t, "secret", (*secretRow).fields, selectSecrets+` WHERE tenant_id = $1 AND upsert_key = $2`, t.actor.TenantID, upsert)
		found := err == nil
		switch {
		case found && old.upsertKey() != upsert: // mac doesn't cover that column
			return &alteredError{"secrets", old.tenant, old.ID}
		case found:
			if old.rule != "" { // what the user has set stays
				supplied = old.rule.rule()
			}
			err = t.giveUp(old)
		case errors.Is(err, api.ErrNotFound):
			err = nil
		}
		if err != nil {
			return err
		}
		alone := n
		alone.ExposeAsEnv = "" // the old secret has the name yet
		secret, _, _, err := t.put(alone, &Grant{Provider: f.Provider, Rule: supplied})
		if err == nil && found {
			err = t.replaceSecret(old, secret)
		}
		if err == nil && n.ExposeAsEnv != "" && n.Resource.ID != "" {
			_, _, err = t.bind(api.NewBinding{SecretID: secret.ID, Resource: n.Resource, ExposeAsEnv: n.ExposeAsEnv, Delivery: n.Delivery})
		}
		if err != nil {
			return err
		}
		if err := t.setFlow(f, api.FlowCompleted, "", secret.ID); err != nil {
			return err
		}
		return t.audit(api.Event{Action: actOAuthCallback, Detail: f.Provider, SecretID: secret.ID, Version: secret.Version,
			ResourceType: n.Resource.Type, ResourceID: n.Resource.ID})
	})
}

// Grant says how the vault refreshes a secret's value.
type Grant struct {
	Provider string // the OAuth provider that the refresh token is from; "": client credentials

	Rule *api.EgressRule // of a new secret that is stored without one; it isn't stored with the schedule
}
