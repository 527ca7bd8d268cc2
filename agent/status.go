package agent

import (
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Status is what a daemon tells about itself: it holds no value and no key. It is also what `miosa-env
// status --json` prints and the socket answers.
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since"` // when it came into this state

	api.Resource

	// Vault is the base URL of the vault whose set is served, in its normal form; while there is no set, of the
	// one that is asked. Empty: an agent of a version that didn't say.
	Vault string `json:"vault,omitempty"`
	// Socket is where the agent was asked. It is empty but in what a Client gives.
	Socket string `json:"socket,omitempty"`

	Etag         string `json:"etag,omitempty"`
	Bindings     int    `json:"bindings"`
	Origin       Origin `json:"origin,omitempty"` // empty while there is no set
	Placeholders bool   `json:"placeholders"`     // the vault has no agent API: no value is a secret

	// Expired names the variables that aren't in the set any more because their secrets expired after the
	// vault gave them.
	Expired []string `json:"expired,omitempty"`

	ConfirmedAt time.Time `json:"confirmed_at,omitzero"` // when the vault last said that the set stands
	Age         float64   `json:"age_seconds"`           // since then, time asleep included
	LastError   string    `json:"last_error,omitempty"`  // kept after recovery, with its time
	LastHint    string    `json:"last_hint,omitempty"`   // what to do about it
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	RoundTrip   float64   `json:"round_trip_ms"` // of the last request that the vault answered without holding it

	Outputs  []OutputStatus `json:"outputs"`
	OnRevoke string         `json:"on_revoke,omitempty"` // RevokeKeep or RevokeStop: what becomes of commands that follow
	Counts   Counts         `json:"counts"`

	StartedAt time.Time `json:"started_at"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
}

// OutputStatus is the state of one output. It counts since the agent started, or took up another configuration of the
// output.
type OutputStatus struct {
	Name         string      `json:"name"` // its path
	State        OutputState `json:"state"`
	Error        string      `json:"error,omitempty"`
	Hint         string      `json:"hint,omitempty"`      // what to do about it
	WrittenAt    time.Time   `json:"written_at,omitzero"` // when its content was last written, or found to be there already
	Bindings     int         `json:"bindings"`            // variables that were written last
	Writes       int64       `json:"writes"`              // times that its content was written
	Failures     int64       `json:"failures"`            // times that it couldn't be written or removed
	Hooks        int64       `json:"hooks"`               // runs of its hook that have ended
	HookFailures int64       `json:"hook_failures"`       // of these, that failed or were killed
}

// Counts is how often things happened since the start.
type Counts struct {
	Asks       int64 `json:"asks"`        // of the source: requests made, as far as the loop sees
	Failures   int64 `json:"failures"`    // of these, with no answer that could be used
	Refusals   int64 `json:"refusals"`    // of these, refused for good
	Changes    int64 `json:"changes"`     // sets taken
	Wakes      int64 `json:"wakes"`       // times the machine was found to have slept or its clock to have moved
	CacheSaves int64 `json:"cache_saves"` // sealed to disk
}
