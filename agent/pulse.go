package agent

import (
	"sync/atomic"
	"time"
)

// pulseGrace is how late the loop may be on a busy machine.
const pulseGrace = 30 * time.Second

// pulse is the latest time at which the loop continues. All its waits are limited.
type pulse struct{ due atomic.Pointer[time.Time] }

// expect notes that the loop continues within d.
func (p *pulse) expect(d time.Duration) {
	due := time.Now().Add(d + pulseGrace)
	p.due.Store(&due)
}

// Alive reports whether the engine's loop continues in time. It needs the engine's lock, and so detects a deadlock too.
func (e *Engine) Alive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.pulse.due.Load()
	return due == nil || time.Now().Before(*due)
}
