package api

import (
	"encoding/json"
	"time"
)

// The outcomes of an Event.
const (
	OutcomeOK     = "ok"
	OutcomeDenied = "denied"
	OutcomeFailed = "failed" // of OAuth: failed, but not refused
)

// Event is one record of the audit. It contains no value and no key.
type Event struct {
	ID        string    `json:"id"`
	TenantID  string    `json:"tenant_id"`
	Timestamp time.Time `json:"timestamp"`
	Action    string    `json:"action"`  // such as secret.rotate or reveal
	Outcome   string    `json:"outcome"` // OutcomeOK, OutcomeDenied or OutcomeFailed
	KeyID     string    `json:"key_id"`  // the id of the key that was used; "local": the vault's command line

	SecretID     string     `json:"secret_id,omitempty"`
	BindingID    string     `json:"binding_id,omitempty"`
	TargetKeyID  string     `json:"target_key_id,omitempty"` // the key that was created or revoked
	ResourceType string     `json:"resource_type,omitempty"`
	ResourceID   string     `json:"resource_id,omitempty"`
	Version      int64      `json:"version,omitempty"`  // the secret's, after the change
	Bindings     []EventRef `json:"bindings,omitempty"` // that were revealed, or deleted with their secret

	Detail string `json:"detail,omitempty"` // of OAuth: the provider and, after a colon, its error code

	RemoteAddr string `json:"remote_addr,omitempty"`
	RequestID  string `json:"request_id,omitempty"`

	Traffic
}

// Traffic describes an outgoing request of a sandbox in the audit of MIOSA's platform. It is empty in a vault's events.
type Traffic struct {
	Host       string `json:"host,omitempty"`
	Method     string `json:"method,omitempty"`
	Path       string `json:"path,omitempty"`
	StatusCode int    `json:"status_code,omitempty"` // of the answer
	Effect     string `json:"effect,omitempty"`      // such as allow or deny
	PolicyID   string `json:"policy_id,omitempty"`   // that decided
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

// looseID is an id in JSON: a string or a number.
type looseID string

func (id *looseID) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, (*string)(id))
	}
	var n json.Number
	err := json.Unmarshal(text, &n)
	*id = looseID(n)
	return err
}

// EventRef is a binding in an Event, with the version of its secret at that time.
type EventRef struct {
	ID       string `json:"id"`
	SecretID string `json:"secret_id"`
	Version  int64  `json:"version"`
}
