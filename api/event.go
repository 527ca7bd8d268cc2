package api

import "time"

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
}

// EventRef is one binding in an Event, with the version of its secret at that moment.
type EventRef struct {
	ID       string `json:"id"`
	SecretID string `json:"secret_id"`
	Version  int64  `json:"version"`
}
