package traffic

import "encoding/json"

// waiting is an event that waits for the vault.
type waiting struct {
	number uint64 // greater than those of older events
	text   json.RawMessage
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

// pop removes the oldest event.
func (q *queue) pop() {
	q.bytes -= q.events[0].size()
	q.events[0] = waiting{}
	if q.events = q.events[1:]; len(q.events) == 0 {
		q.events = nil
	}
}

// older returns the queue with the older first event, or any if both are empty.
func older(a, b *queue) *queue {
	if len(b.events) == 0 || len(a.events) > 0 && a.events[0].number < b.events[0].number {
		return a
	}
	return b
}
