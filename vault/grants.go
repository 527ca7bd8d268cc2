package vault

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// The types of secrets whose value the vault renews by itself.
const (
	typeConnect = "oauth_connect" // by a refresh token
	typeMachine = "oauth_machine" // by client credentials; the client's secret stands where a refresh token does
)

// grant is what the vault renews a secret by.
type grant struct {
	provider     string        // of package oauth; "": client credentials
	due          sql.NullInt64 // microseconds; NULL: not any more, or the token doesn't end
	claimedUntil int64         // microseconds
	claim        string
	failures     int64 // in a row
	unclear      int64 // requests under the token in hand whose answer isn't known
}

// grant reads a secret's; nil when the vault doesn't renew it.
func (t *txn) grant(secretID string) (*grant, error) {
	var g grant
	err := t.QueryRow(`SELECT provider, due_at, claimed_until, claim, failures, unclear FROM oauth_grants
		WHERE secret_id = $1 AND tenant_id = $2`, secretID, t.actor.TenantID).
		Scan(&g.provider, &g.due, &g.claimedUntil, &g.claim, &g.failures, &g.unclear)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &g, err
}

// setGrant begins a secret's schedule anew, after its value was set; nil ends it.
func (t *txn) setGrant(row secretRow, g *grant) error {
	if g == nil {
		return t.Exec(`DELETE FROM oauth_grants WHERE secret_id = $1`, row.id)
	}
	fresh := grant{provider: g.provider}
	switch {
	case !row.expires.Valid:
	case row.refresh == nil: // nothing can be done before it ends, and then it is to be told
		fresh.due = row.expires
	default:
		at := renewAt(t.now, fromMicros(row.expires.Int64))
		fresh.due = micros(&at)
	}
	return t.writeGrant(row.id, fresh)
}

func (t *txn) writeGrant(secretID string, g grant) error {
	t.renews = true
	return t.Exec(`INSERT INTO oauth_grants (secret_id, tenant_id, provider, due_at, claimed_until, claim, failures, unclear)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (secret_id) DO UPDATE SET provider = excluded.provider, due_at = excluded.due_at,
			claimed_until = excluded.claimed_until, claim = excluded.claim, failures = excluded.failures, unclear = excluded.unclear`,
		secretID, t.actor.TenantID, g.provider, g.due, g.claimedUntil, g.claim, g.failures, g.unclear)
}

// shortestLife is what a token is taken to live for at least, when its renewal is planned.
const shortestLife = time.Second

// renewAt is when a token is renewed: at a moment between 70 and 85 % of its life that is drawn anew each time, so
// that tokens made together aren't renewed together, and a renewal that fails has time for others.
func renewAt(now, ends time.Time) time.Time {
	// A provider may give tokens that have ended already. It isn't asked all the time for that.
	life := max(ends.Sub(now), shortestLife)
	const from, spread = 70, 15
	return now.Add(life / 100 * from).Add(delay.Random(life / 100 * spread))
}

// nextRenewal is when the next grant is due, or its claim runs out; nil: there is none.
func (t *txn) nextRenewal() (*time.Time, error) {
	var at sql.NullInt64
	err := t.QueryRow(`SELECT MIN(CASE WHEN due_at > claimed_until THEN due_at ELSE claimed_until END)
		FROM oauth_grants WHERE due_at IS NOT NULL`).Scan(&at)
	return fromNullMicros(at), err
}

// oauthState is what the vault keeps of a connection under "oauth" in a secret's metadata, where its owner sees it.
type oauthState struct {
	Provider string   `json:"provider,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Status   string   `json:"status"`          // api.OAuthConnected, OAuthRetrying or OAuthReconnect
	Error    string   `json:"error,omitempty"` // the word a provider refused with, or ours
}

func oauthOf(metadata string) (o oauthState) {
	var m struct {
		OAuth json.RawMessage `json:"oauth"`
	}
	if json.Unmarshal([]byte(metadata), &m) == nil {
		_ = json.Unmarshal(m.OAuth, &o) // the owner's own idea of it, which says nothing to us
	}
	return o
}

// withOAuth is metadata with another status and error under "oauth"; the rest stays.
func withOAuth(metadata, status, code string) string {
	var all, own map[string]json.RawMessage
	_ = json.Unmarshal([]byte(metadata), &all)
	_ = json.Unmarshal(all["oauth"], &own)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if own == nil {
		own = map[string]json.RawMessage{}
	}
	own["status"] = jsonOf(status)
	delete(own, "error")
	if code != "" {
		own["error"] = jsonOf(code)
	}
	all["oauth"] = jsonOf(own)
	return string(jsonOf(all))
}

// jsonOf encodes what always can be.
func jsonOf(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// setHealth writes a connection's state, which isn't part of its version.
func (t *txn) setHealth(row secretRow, status, code string) error {
	return t.Exec(`UPDATE secrets SET metadata = $1 WHERE id = $2`, withOAuth(row.metadata, status, code), row.id)
}

// givenOAuth is a connection of the owner's own making: a token and its refresh token, stored under a type and with
// metadata.oauth.provider that say how to renew it. nil: there is nothing to renew it by.
func givenOAuth(p PutSecret, known func(provider string) bool) *grant {
	provider := oauthOf(string(p.Metadata)).Provider
	if p.Type != typeConnect || p.RefreshToken == nil || provider == "" || !known(provider) {
		return nil
	}
	return &grant{provider: provider}
}
