package agent

import (
	"sync/atomic"
	"time"
)

// pulseGrace is how much later than it should the loop may come round, on a machine that is busy.
const pulseGrace = 30 * time.Second

// pulse is the latest time at which the loop is to be heard of again. Whatever it waits for has an end.
type pulse struct{ due atomic.Pointer[time.Time] }

// expect says that the loop is heard of again after d.
func (p *pulse) expect(d time.Duration) {
	due := time.Now().Add(d + pulseGrace)
	p.due.Store(&due)
}

// Alive tells whether the loop that asks the vault turns. It doesn't return while the agent's lock can't be had.
func (e *Engine) Alive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.pulse.due.Load()
	return due == nil || time.Now().Before(*due)
}
