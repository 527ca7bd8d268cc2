package api

import (
	"encoding/json"
	"time"
)

// What an Event can say about its outcome.
const (
	OutcomeOK     = "ok"
	OutcomeDenied = "denied"
	OutcomeFailed = "failed" // of OAuth: it didn't work out, and nobody said no
)

// Event is one audit record: who did what to what, when, from where. It never holds a value or a key.
type Event struct {
	ID        string    `json:"id"`
	TenantID  string    `json:"tenant_id"`
	Timestamp time.Time `json:"timestamp"`
	Action    string    `json:"action"`  // such as secret.rotate or reveal
	Outcome   string    `json:"outcome"` // OutcomeOK, OutcomeDenied or OutcomeFailed
	KeyID     string    `json:"key_id"`  // who: the key that was used, or "local" for the command line

	SecretID     string     `json:"secret_id,omitempty"`
	BindingID    string     `json:"binding_id,omitempty"`
	TargetKeyID  string     `json:"target_key_id,omitempty"` // the key that was minted or revoked
	ResourceType string     `json:"resource_type,omitempty"`
	ResourceID   string     `json:"resource_id,omitempty"`
	Version      int64      `json:"version,omitempty"`  // the secret's, after the change
	Bindings     []EventRef `json:"bindings,omitempty"` // of a reveal: what was handed out; of a deletion: what went with it

	Detail string `json:"detail,omitempty"` // of OAuth: the provider and, after a colon, what it said where it gave no token

	RemoteAddr string `json:"remote_addr,omitempty"`
	RequestID  string `json:"request_id,omitempty"`

	Traffic
}

// Traffic is what the audit of MIOSA's platform says of a request that left a sandbox or was kept from it.
// In a vault's own events all of it is empty.
type Traffic struct {
	Host       string `json:"host,omitempty"`
	Method     string `json:"method,omitempty"`
	Path       string `json:"path,omitempty"`
	StatusCode int    `json:"status_code,omitempty"` // of the answer
	Effect     string `json:"effect,omitempty"`      // such as allow or deny
	PolicyID   string `json:"policy_id,omitempty"`   // what decided
	RuleID     string `json:"rule_id,omitempty"`

	ExternalUserID      string          `json:"external_user_id,omitempty"`
	ExternalWorkspaceID string          `json:"external_workspace_id,omitempty"`
	Metadata            json.RawMessage `json:"metadata,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler. The platform calls the time of an event inserted_at.
func (e *Event) UnmarshalJSON(text []byte) error {
	type plain Event // without this method
	got := struct {
		*plain
		ID         looseID   `json:"id"`
		Timestamp  LooseTime `json:"timestamp"`
		InsertedAt LooseTime `json:"inserted_at"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(text, &got); err != nil {
		return err
	}
	e.ID, e.Timestamp = string(got.ID), got.Timestamp.or(got.InsertedAt)
	return nil
}

// looseID is an id as text, or as the number it is elsewhere.
type looseID string

func (id *looseID) UnmarshalJSON(text []byte) error {
	var s string
	var n json.Number
	if json.Unmarshal(text, &n) == nil {
		s = n.String()
	} else if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	*id = looseID(s)
	return nil
}

// EventRef is one binding in an Event, with the version of its secret at that moment.
type EventRef struct {
	ID       string `json:"id"`
	SecretID string `json:"secret_id"`
	Version  int64  `json:"version"`
}
