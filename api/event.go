package api

import (
	"encoding/json"
	"strings"
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

// Traffic describes an outgoing request of a resource. In other events it has at most what they are about: a secret's
// external user and workspace, a policy or an entry of the allowlist.
type Traffic struct {
	Host       string `json:"host,omitempty"`
	Method     string `json:"method,omitempty"`
	Path       string `json:"path,omitempty"`        // without its query
	StatusCode int    `json:"status_code,omitempty"` // of the answer
	Effect     string `json:"effect,omitempty"`      // EffectAllow, EffectDeny or EffectPending
	PolicyID   string `json:"policy_id,omitempty"`   // that decided
	RuleID     string `json:"rule_id,omitempty"`

	OccurredAt *time.Time  `json:"occurred_at,omitempty"`        // by the broker's clock
	Transforms *Transforms `json:"request_transforms,omitempty"` // of a request that was changed

	ExternalUserID      string          `json:"external_user_id,omitempty"`
	ExternalWorkspaceID string          `json:"external_workspace_id,omitempty"`
	Metadata            json.RawMessage `json:"metadata,omitempty"`
}

// Transforms are the changes that a broker has made to a request.
type Transforms struct {
	Secrets struct {
		Swapped []string `json:"swapped"` // ids of the secrets whose values took the place of placeholders
	} `json:"secrets"`
}

// TrafficEvent is an outgoing request, as a broker reports it in the body of POST /egress/traffic.
type TrafficEvent struct {
	ID         string    `json:"id"` // chosen by the broker at random: 16 to 64 letters and digits. An id is recorded once
	OccurredAt time.Time `json:"occurred_at"`
	Resource
	Host       string     `json:"host"`                  // a name or an address, without a port
	Method     string     `json:"method,omitempty"`      // "": the connection wasn't decrypted
	Path       string     `json:"path,omitempty"`        // as the client sent it, without the query
	StatusCode int        `json:"status_code,omitempty"` // 0: there was no answer
	Effect     string     `json:"effect"`                // of the policy: EffectAllow, EffectDeny or EffectPending
	Refused    bool       `json:"refused,omitempty"`     // by the broker, because of the policy or a rule of a secret
	Reason     string     `json:"reason,omitempty"`      // of the refusal
	RuleID     string     `json:"rule_id,omitempty"`     // that decided
	PolicyID   string     `json:"policy_id,omitempty"`
	Swapped    []EventRef `json:"swapped,omitempty"` // the bindings whose placeholders were replaced
}

// TrafficReport is the body of POST /egress/traffic.
type TrafficReport struct {
	Events []TrafficEvent `json:"events"` // 1 to MaxTrafficEvents
}

// TrafficAnswer is the answer to it.
type TrafficAnswer struct {
	Recorded int `json:"recorded"`
	Known    int `json:"known"` // were recorded before
}

// Limits of a report.
const (
	MaxTrafficEvents = 1000
	MaxTrafficBody   = 1 << 20 // bytes
	MaxTrafficSwaps  = 32      // of an event

	maxTrafficHost   = 253
	maxTrafficMethod = 32
	maxTrafficPath   = 1024
	maxTrafficReason = 128
)

// Trim shortens what is too long, so that Validate accepts it.
func (e *TrafficEvent) Trim() {
	for _, field := range []struct {
		text *string
		most int
	}{{&e.Host, maxTrafficHost}, {&e.Method, maxTrafficMethod}, {&e.Path, maxTrafficPath}, {&e.Reason, maxTrafficReason}} {
		if len(*field.text) > field.most {
			*field.text = strings.ToValidUTF8((*field.text)[:field.most], "")
		}
	}
	if len(e.Swapped) > MaxTrafficSwaps {
		e.Swapped = e.Swapped[:MaxTrafficSwaps]
	}
}

// Validate returns an error that names an invalid field. It doesn't check which characters texts have. Errors: ErrInvalid.
func (e *TrafficEvent) Validate() error {
	switch {
	case len(e.ID) < 16 || len(e.ID) > 64 || keyRun(e.ID) != len(e.ID):
		return NewError(ErrInvalid, "id must be 16 to 64 letters, digits, _ or -")
	case e.OccurredAt.IsZero():
		return NewError(ErrInvalid, "occurred_at is required")
	case e.OccurredAt.Year() < 1970 || e.OccurredAt.Year() > 9999:
		return NewError(ErrInvalid, "occurred_at must be a time from 1970 to 9999")
	case e.Host == "" || len(e.Host) > maxTrafficHost:
		return NewError(ErrInvalid, "host must be 1 to 253 bytes")
	case len(e.Method) > maxTrafficMethod:
		return NewError(ErrInvalid, "method must be at most 32 bytes")
	case len(e.Path) > maxTrafficPath:
		return NewError(ErrInvalid, "path must be at most 1024 bytes")
	case strings.ContainsAny(e.Path, "?#"):
		return NewError(ErrInvalid, "path must not have a query")
	case e.StatusCode < 0 || e.StatusCode > 999:
		return NewError(ErrInvalid, "status_code must be 0 to 999")
	case e.Effect != EffectAllow && e.Effect != EffectDeny && e.Effect != EffectPending:
		return NewError(ErrInvalid, "effect must be allow, deny or pending")
	case len(e.Reason) > maxTrafficReason:
		return NewError(ErrInvalid, "reason must be at most 128 bytes")
	case len(e.Swapped) > MaxTrafficSwaps:
		return NewError(ErrInvalid, "swapped must have at most 32 items")
	}
	for _, id := range []struct{ name, text string }{{"rule_id", e.RuleID}, {"policy_id", e.PolicyID}} {
		if !isObjectID(id.text) && id.text != "" {
			return NewError(ErrInvalid, id.name+" must be an id")
		}
	}
	for _, b := range e.Swapped {
		if !isObjectID(b.ID) || !isObjectID(b.SecretID) || b.Version < 0 {
			return NewError(ErrInvalid, "swapped must have ids and versions of bindings and their secrets")
		}
	}
	return e.Resource.Validate()
}

// isObjectID reports whether s may be the id of an object of a vault.
func isObjectID(s string) bool { return s != "" && len(s) <= 64 && keyRun(s) == len(s) }

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
	Checked  int64         `json:"checked"`           // events
	Seq      int64         `json:"seq"`               // of the last event that was checked
	Complete bool          `json:"complete"`          // that event is the head
	Removed  int64         `json:"removed,omitempty"` // outgoing requests before or between them that retention has removed
	Problem  *AuditProblem `json:"problem"`           // the first one; null: none
}

// AuditProblem says where an audit log was changed outside of the vault.
type AuditProblem struct {
	Seq     int64  `json:"seq"` // the event's number, or that of a missing event
	EventID string `json:"event_id,omitempty"`
	Kind    string `json:"kind"` // changed, missing, inserted, head or count
	Message string `json:"message"`
}
