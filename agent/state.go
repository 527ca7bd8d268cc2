package agent

// State is how much a daemon's set is worth. The rules are in docs/operations.md.
type State string

// The states of a daemon.
const (
	Starting State = "starting" // no set yet
	Fresh    State = "fresh"    // the vault confirmed the set, and is being asked on
	Stale    State = "stale"    // the vault didn't answer: the last good set is served, with its age
	Refused  State = "refused"  // the key was revoked or the resource is gone: nothing is served
)

// Origin is where the set that is served came from.
type Origin string

// The origins of a set.
const (
	FromVault Origin = "vault"
	FromCache Origin = "cache" // sealed on this machine's disk when the vault last confirmed it
)

// OutputState is how one output is doing.
type OutputState string

// The states of an output.
const (
	Pending OutputState = "pending" // not written yet, or being written
	Written OutputState = "written" // holds the set that is served
	Failed  OutputState = "failed"  // couldn't be written: the last good content stays, and it is tried again
	Unfit   OutputState = "refused" // its format can't carry the set: the last good content stays
	Removed OutputState = "removed" // taken away, since the vault refused
)
