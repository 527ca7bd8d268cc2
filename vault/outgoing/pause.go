package outgoing

import (
	"sync"
	"time"
)

const (
	shortestNamePause = 5 * time.Second
	longestNamePause  = 10 * time.Minute
	maxPauses         = 1000 // with more, all names are tried again
)

// Pauses keeps names that fail from being tried again for a pause, which is twice as long after each further failure. It is safe for
// concurrent use.
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
	length := min(max(2*p.names[name].length, shortestNamePause), longestNamePause)
	p.names[name] = paused{now.Add(length), length}
}

// Paused returns the names whose pauses haven't ended. It forgets names whose pauses ended longer than the longest pause ago.
func (p *Pauses) Paused(now time.Time) (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, last := range p.names {
		switch {
		case last.until.After(now):
			names = append(names, name)
		case now.Sub(last.until) > longestNamePause:
			delete(p.names, name)
		}
	}
	return names
}
