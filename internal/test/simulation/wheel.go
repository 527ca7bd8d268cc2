package simulation

import "time"

// tick is the resolution of the simulation.
const tick = time.Millisecond

// step is what an agent does next.
type step uint8

const (
	send   step = iota // begin a request
	arrive             // the request is at the replica
	decide             // the replica knows the state of the set
	end                // of the wait
	answer             // the response is at the agent
	giveUp             // the agent has waited long enough
)

// event is a step of an agent at a time. It is outdated if the agent has begun another request since.
type event struct {
	agent   *agent
	request uint32
	step    step
}

// wheel has the events of each tick.
type wheel [][]event

// add adds an event at a time, at least one tick after now.
func (w wheel) add(now, at time.Duration, e event) {
	slot := max(int((at+tick-1)/tick), int(now/tick)+1)
	if slot < len(w) {
		w[slot] = append(w[slot], e)
	}
}
