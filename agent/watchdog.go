package agent

import (
	"sync/atomic"
	"time"
)

// watchdogGrace is how late the loop may be on a busy machine.
const watchdogGrace = 30 * time.Second

// watchdog is the latest time at which the loop continues. All its waits are limited.
type watchdog struct{ due atomic.Pointer[time.Time] }

// expect notes that the loop continues within d.
func (w *watchdog) expect(d time.Duration) {
	due := time.Now().Add(d + watchdogGrace)
	w.due.Store(&due)
}

// Alive reports whether the engine's loop continues in time. It needs the engine's lock, and so detects a deadlock too.
func (e *Engine) Alive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.watchdog.due.Load()
	return due == nil || time.Now().Before(*due)
}
