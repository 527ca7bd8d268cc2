package simulation

import (
	"math"
	"time"
)

// Fault is something that happens to the vaults or the network.
type Fault struct {
	Name       string
	Kind       Kind
	Start, End time.Duration // since the start of the simulation
	Rotate     time.Duration // when the secret that all agents have is rotated; 0: not at all
}

// Kind is a kind of Fault.
type Kind int

// The kinds of faults.
const (
	Rotation  Kind = iota // of the secret; Start and End are equal
	Restart               // every vault stops, and runs again at the end
	Partition             // a third of the agents reach nothing, and what is sent to them is lost
	Errors                // every request gets status 500
)

// allFaults has one fault of each kind, in half an hour. The secret is rotated during the long ones too, so that every agent has
// to get it afterwards.
func allFaults() []Fault {
	const m, s = time.Minute, time.Second
	return []Fault{
		{"restart", Restart, 2 * m, 2*m + 3*s, 0},
		{"partition of a third", Partition, 5 * m, 8 * m, 6 * m},
		{"ten minutes of status 500", Errors, 12 * m, 22 * m, 21 * m},
		{"rotation", Rotation, 26 * m, 26 * m, 26 * m},
	}
}

// halfHour is how long a simulation of allFaults takes.
const halfHour = 30 * time.Minute

// Recovery is what followed a fault, until the next one.
type Recovery struct {
	Fault
	Peak    int           // the most requests in a second, since the start of the fault
	Current time.Duration // since the end of the fault, until every agent had the newest version and an answer; negative: never
	Later   int           // the most requests in a second after all agents were current and the rate of requests was the usual one
}

// Without a fault, the rate of requests is at most unevenness times its average. The number of requests in a second is random: it
// is over that by no more than deviations times its standard deviation, the square root of the average.
const (
	unevenness = 1.5
	deviations = 5
)

// Usual is the most requests in a second while all is well.
func (m *Model) Usual() int {
	average := float64(m.Agents) / longestWait.Seconds()
	return int(unevenness*average + deviations*math.Sqrt(average))
}

const longestWait = 50 * time.Second // of an agent

// Recoveries returns what followed each fault.
func (r *Result) Recoveries(m *Model, faults []Fault) []Recovery {
	all := make([]Recovery, len(faults))
	for i, f := range faults {
		next := len(r.Seconds) - 1
		if i+1 < len(faults) {
			next = int(faults[i+1].Start / time.Second)
		}
		start, end := int(f.Start/time.Second), int(f.End/time.Second)
		v := Recovery{Fault: f, Current: -1}
		calm := 0 // seconds
		for second := start; second < next; second++ {
			now := r.Seconds[second]
			v.Peak = max(v.Peak, now.Requests)
			switch {
			case second < end || calm < 5 && (now.Stale > 0 || now.Requests > m.Usual()):
				calm = 0
			case calm < 5:
				calm++
			default:
				v.Later = max(v.Later, now.Requests)
			}
			switch {
			case now.Stale > 0:
				v.Current = -1
			case second >= end && v.Current < 0:
				v.Current = time.Duration(second+1)*time.Second - f.End
			}
		}
		all[i] = v
	}
	return all
}
