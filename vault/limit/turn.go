package limit

import (
	"context"
	"sync"
)

// Turns lets each name run a few operations at the same time. More wait, in order, so that one name doesn't have all
// processors and database connections.
type Turns struct {
	limit  int
	atOnce int // those that wait get their turns when so many are free

	mu    sync.Mutex // guards names
	names map[string]*turns
}

// turns are those of one name.
type turns struct {
	running int
	waiting []chan struct{} // each is closed when its turn comes
}

// newTurns returns turns for n operations of each name.
func newTurns(n int) *Turns { return &Turns{limit: n, atOnce: 1, names: map[string]*turns{}} }

// Take waits for a turn of name, until the caller ends it. Errors: ctx's own.
func (t *Turns) Take(ctx context.Context, name string) (end func(), err error) {
	t.mu.Lock()
	n := t.names[name]
	if n == nil {
		n = &turns{}
		t.names[name] = n
	}
	if n.running < t.limit && len(n.waiting) == 0 {
		n.running++
		t.mu.Unlock()
		return func() { t.end(name) }, nil
	}
	turn := make(chan struct{})
	n.waiting = append(n.waiting, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return func() { t.end(name) }, nil
	case <-ctx.Done():
		t.mu.Lock()
		for i, other := range n.waiting {
			if other == turn {
				n.waiting = append(n.waiting[:i], n.waiting[i+1:]...)
				t.mu.Unlock()
				return nil, ctx.Err()
			}
		}
		t.mu.Unlock()
		t.end(name) // the turn came at the same time
		return nil, ctx.Err()
	}
}

// end ends a turn, and gives the free ones to those that wait.
func (t *Turns) end(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.names[name]
	n.running--
	if t.limit-n.running >= t.atOnce {
		given := n.waiting[:min(len(n.waiting), t.limit-n.running)]
		for _, turn := range given {
			close(turn)
		}
		n.running += len(given)
		n.waiting = n.waiting[len(given):]
	}
	if n.running == 0 {
		delete(t.names, name)
	}
}
