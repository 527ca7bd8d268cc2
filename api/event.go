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
	ID         string    `json:"id"`
	TenantID   string    `json:"tenant_id"`
	Timestamp  time.Time `json:"timestamp"`
	InsertedAt time.Time `json:"inserted_at,omitzero"` // the same, under the platform's name

	Seq  int64  `json:"seq,omitempty"`  // the event's number in its tenant's hash chain, from 1
	Hash string `json:"hash,omitempty"` // hex, of the event and the hash before it

	// Of an event that is counted when it happens again within an hour: how often it has happened, and when it did last.
	Count  int64      `json:"count,omitempty"`
	LastAt *time.Time `json:"last_at,omitempty"`

	Action  string `json:"action"`  // such as secret.rotate or reveal
	Outcome string `json:"outcome"` // OutcomeOK, OutcomeDenied or OutcomeFailed
	KeyID   string `json:"key_id"`  // the id of the key that was used; "local": the vault's command line

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

// Traffic describes an outgoing request of a sandbox in the audit of MIOSA's platform. In a vault's events it has only the
// external user and workspace of a secret.
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
	e.InsertedAt = got.InsertedAt.Time
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

// AuditHead is the newest event of a tenant's hash chain. Stored elsewhere, it proves later that no event up to it was
// changed or removed.
type AuditHead struct {
	TenantID string `json:"tenant_id"`
	Seq      int64  `json:"seq"`  // 0: there is no event yet
	Hash     string `json:"hash"` // hex
	EventID  string `json:"event_id"`
	Count    int64  `json:"count"`            // of events in the log
	Pruned   int64  `json:"pruned,omitempty"` // the number of the newest event that retention removed
}

// AuditCheck is the result of verifying part of a tenant's audit log.
type AuditCheck struct {
	Checked  int64         `json:"checked"`  // events
	Seq      int64         `json:"seq"`      // of the last event that was checked
	Complete bool          `json:"complete"` // that event is the head
	Problem  *AuditProblem `json:"problem"`  // the first one; null: none
}

// AuditProblem says where an audit log was changed outside of the vault.
type AuditProblem struct {
	Seq     int64  `json:"seq"` // the event's number, or that of a missing event
	EventID string `json:"event_id,omitempty"`
	Kind    string `json:"kind"` // changed, missing, inserted, head or count
	Message string `json:"message"`
}
