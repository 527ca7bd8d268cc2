package agent

import (
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// State is the state of a daemon. docs/operations.md has the rules.
type State string

// The states of a daemon.
const (
	Starting State = "starting" // no set yet
	Fresh    State = "fresh"    // the vault has confirmed the set
	Stale    State = "stale"    // the vault is unavailable: the last set is served
	Refused  State = "refused"  // the key was revoked or the resource is gone: nothing is served
)

// Origin is where the set that is served comes from.
type Origin string

// The origins of a set.
const (
	FromVault Origin = "vault"
	FromCache Origin = "cache" // of this machine
)

// OutputState is the state of an output.
type OutputState string

// The states of an output.
const (
	Pending OutputState = "pending" // not written yet, or being written
	Written OutputState = "written" // holds the set that is served
	Failed  OutputState = "failed"  // couldn't be written: its last content stays, and the agent retries
	Unfit   OutputState = "refused" // its format can't represent the set: its last content stays
	Removed OutputState = "removed" // because the vault refuses the key
)

// Status describes a daemon. It contains no value and no key. The socket serves it, and `miosa-env status --json` prints it.
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since"` // of State

	api.Resource

	// Vault is the base URL, in normal form, of the vault whose set is served or, without a set, of the one that is asked.
	// It is empty in the status of an agent whose version doesn't report it.
	Vault string `json:"vault,omitempty"`
	// Socket is the path of the agent's socket. Only socket.Client sets it.
	Socket string `json:"socket,omitempty"`

	Etag         string `json:"etag,omitempty"`
	Bindings     int    `json:"bindings"`
	Origin       Origin `json:"origin,omitempty"` // empty while there is no set
	Placeholders bool   `json:"placeholders"`     // the vault has no agent API: no value is a secret

	// Expired names the variables whose secrets have expired since the vault returned the set. They are no longer in it.
	Expired []string `json:"expired,omitempty"`

	ConfirmedAt time.Time `json:"confirmed_at,omitzero"` // when the vault last confirmed the set
	Age         float64   `json:"age_seconds"`           // since ConfirmedAt, including suspends
	LastError   string    `json:"last_error,omitempty"`  // kept after recovery, with its time
	LastHint    string    `json:"last_hint,omitempty"`   // how to fix it
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	RoundTrip   float64   `json:"round_trip_ms"` // of the last request that didn't wait for a change

	Outputs  []OutputStatus `json:"outputs"`
	OnRevoke string         `json:"on_revoke,omitempty"` // config.RevokeKeep or config.RevokeStop: what happens to commands that follow
	Counts   Counts         `json:"counts"`

	StartedAt time.Time `json:"started_at"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
}

// OutputStatus is the status of one output. Its counts start when the agent does, or when the output's configuration changes.
type OutputStatus struct {
	Name         string      `json:"name"` // its path
	State        OutputState `json:"state"`
	Error        string      `json:"error,omitempty"`
	Hint         string      `json:"hint,omitempty"`      // how to fix it
	WrittenAt    time.Time   `json:"written_at,omitzero"` // when its content was last written, or found in place
	Bindings     int         `json:"bindings"`            // variables in it
	Writes       int64       `json:"writes"`              // times that its content was written
	Failures     int64       `json:"failures"`            // times that it couldn't be written or removed
	Hooks        int64       `json:"hooks"`               // runs of its hook that have ended
	HookFailures int64       `json:"hook_failures"`       // of these, that failed or were killed
}

// Counts counts events since the start.
type Counts struct {
	Asks       int64 `json:"asks"`        // requests to the source
	Failures   int64 `json:"failures"`    // of these, without a usable response
	Refusals   int64 `json:"refusals"`    // of these, with a key that was refused
	Changes    int64 `json:"changes"`     // sets taken
	Wakes      int64 `json:"wakes"`       // suspends, and changes of the clock
	CacheSaves int64 `json:"cache_saves"` // sealed to disk
}
