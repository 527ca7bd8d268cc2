// Package hub wakes requests of this process that wait for changes.
package hub

import (
	"iter"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
)

// Topic is a resource of a tenant, which requests wait for.
type Topic struct {
	Tenant   string
	Resource api.Resource
}

// Hub has the requests that wait for topics. It is safe for concurrent use.
type Hub struct {
	mu      sync.Mutex // guards waiting
	waiting map[Topic]map[*subscriber]struct{}
}

// subscriber is a request that waits.
type subscriber struct{ wake func() }

// New returns a Hub without subscribers.
func New() *Hub { return &Hub{waiting: map[Topic]map[*subscriber]struct{}{}} }

// Subscribe calls wake, which must not block, each time that the topic is woken, until unsubscribe is called. A caller that subscribes,
// then reads, and then waits misses no change.
func (h *Hub) Subscribe(t Topic, wake func()) (unsubscribe func()) {
	s := &subscriber{wake}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[t] == nil {
		h.waiting[t] = map[*subscriber]struct{}{}
	}
	h.waiting[t][s] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting[t], s)
		if len(h.waiting[t]) == 0 {
			delete(h.waiting, t)
		}
	}
}

// Topics returns the number of topics with subscribers.
func (h *Hub) Topics() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiting)
}

// Wake wakes the requests that wait for topics. One with the zero resource stands for all of its tenant.
func (h *Hub) Wake(topics iter.Seq[Topic]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range topics {
		if t.Resource != (api.Resource{}) {
			h.wake(t)
			continue
		}
		for one := range h.waiting {
			if one.Tenant == t.Tenant {
				h.wake(one)
			}
		}
	}
}

// WakeIf wakes the requests that wait for topics that a change concerns. concerns must not call h.
func (h *Hub) WakeIf(concerns func(Topic) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range h.waiting {
		if concerns(t) {
			h.wake(t)
		}
	}
}

// wake wakes the requests that wait for a topic. The caller holds mu.
func (h *Hub) wake(t Topic) {
	for s := range h.waiting[t] {
		s.wake()
	}
}
