package traffic

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
)

// waiting is an event that waits for the vault.
type waiting struct {
	number   uint64 // greater than those of older events
	resource api.Resource
	text     json.RawMessage
}

func (w waiting) size() int { return len(w.text) + eventMemory }

// queue holds events from the oldest to the newest.
type queue struct {
	events []waiting
	bytes  int
}

// push adds an event, which is the newest.
func (q *queue) push(w waiting) {
	q.events, q.bytes = append(q.events, w), q.bytes+w.size()
}

// pop removes the oldest event, and returns its resource.
func (q *queue) pop() api.Resource {
	of := q.events[0].resource
	q.bytes -= q.events[0].size()
	q.events[0] = waiting{}
	if q.events = q.events[1:]; len(q.events) == 0 {
		q.events = nil
	}
	return of
}

// texts returns the first n events.
func (q *queue) texts(n int) (texts []json.RawMessage) {
	for _, w := range q.events[:n] {
		texts = append(texts, w.text)
	}
	return texts
}

// group sorts the first n events by resource, stably, and returns how many of them are of the first half of the resources; n if all
// are of one resource.
func (q *queue) group(n int) int {
	events := q.events[:n]
	slices.SortStableFunc(events, func(a, b waiting) int { return cmp.Compare(a.resource.String(), b.resource.String()) })
	var starts []int // of each resource but the first
	for i := 1; i < n; i++ {
		if events[i].resource != events[i-1].resource {
			starts = append(starts, i)
		}
	}
	if len(starts) == 0 {
		return n
	}
	return starts[len(starts)/2]
}

// older returns the queue with the older first event, or any if both are empty.
func older(a, b *queue) *queue {
	if len(b.events) == 0 || len(a.events) > 0 && a.events[0].number < b.events[0].number {
		return a
	}
	return b
}
