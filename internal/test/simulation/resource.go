package simulation

import "time"

// resource serves jobs in the order of their arrival, on a number of processors.
type resource struct {
	free    []time.Duration // when each processor is free
	longest time.Duration   // that a job has waited
}

func newResource(processors int) *resource { return &resource{free: make([]time.Duration, processors)} }

// take returns when a job that arrives at now and takes cost ends. A job that doesn't begin before its client gives it up, at
// limit, takes nothing: ok is false.
func (r *resource) take(now, cost, limit time.Duration) (end time.Duration, ok bool) {
	first := 0
	for i, at := range r.free {
		if at < r.free[first] {
			first = i
		}
	}
	begin := max(now, r.free[first])
	if begin >= limit {
		return 0, false
	}
	r.longest = max(r.longest, begin-now)
	r.free[first] = begin + cost
	return begin + cost, true
}
