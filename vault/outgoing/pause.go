package outgoing

import (
	"sync"
	"time"
)

const (
	afterFailure = 5 * time.Second
	afterMany    = 10 * time.Minute
	maxPauses    = 1000 // with more, all names are tried again
)

// Pauses are the pauses of names that fail again and again, each twice as long as the one before. It is safe for concurrent use.
type Pauses struct {
	mu    sync.Mutex // guards names
	names map[string]paused
}

type paused struct {
	until  time.Time
	length time.Duration
}

// Add starts the next pause of a name.
func (p *Pauses) Add(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.names[name]; p.names == nil || !known && len(p.names) >= maxPauses {
		p.names = map[string]paused{}
	}
	length := min(max(2*p.names[name].length, afterFailure), afterMany)
	p.names[name] = paused{now.Add(length), length}
}

// Paused returns the names that pause. It forgets those that haven't failed for long.
func (p *Pauses) Paused(now time.Time) (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, last := range p.names {
		switch {
		case last.until.After(now):
			names = append(names, name)
		case now.Sub(last.until) > afterMany:
			delete(p.names, name)
		}
	}
	return names
}
