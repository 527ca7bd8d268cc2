package agent

import (
	"sync/atomic"
	"time"
)

// pulseGrace is how late the loop may be on a busy machine.
const pulseGrace = 30 * time.Second

// pulse is the latest time at which the loop goes on: all that it waits for has a limit.
type pulse struct{ due atomic.Pointer[time.Time] }

// expect notes that the loop goes on after d.
func (p *pulse) expect(d time.Duration) {
	due := time.Now().Add(d + pulseGrace)
	p.due.Store(&due)
}

// Alive reports whether the loop that asks the source goes on. It blocks while the engine's lock is held.
func (e *Engine) Alive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.pulse.due.Load()
	return due == nil || time.Now().Before(*due)
}
