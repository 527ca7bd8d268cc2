package agent

import "time"

// watchdogGrace is how late the loop may be on a busy machine.
const watchdogGrace = 30 * time.Second

// expect notes that the loop continues within d. All its waits are limited.
func (e *Engine) expect(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due = time.Now().Add(d + watchdogGrace)
}

// Alive reports whether the engine's loop continues in time. It needs the engine's lock, and so detects a deadlock too.
func (e *Engine) Alive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.due.IsZero() || time.Now().Before(e.due)
}
