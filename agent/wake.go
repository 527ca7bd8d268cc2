package agent

import "time"

const (
	wakeApart = 500 * time.Millisecond // between two wakes, so that the later one too is fresh within a second
	wakeHurry = 30 * time.Second       // after a wake pauses are short
	wakePause = 500 * time.Millisecond // the longest of them
)

// Wake asks the source at once, unless the vault asked for no requests, over new connections: this machine was
// suspended or cloned, or its clock was set, so connections may be dead and the set old. For wakeHurry after it,
// failures are retried faster.
//
// Wakes within wakeApart of the last one become a single one, at the end of that time. None is lost: the clock that
// measures it stands still while a virtual machine is paused, so a second call for what looks like the same wake may
// be the first one after another pause.
func (e *Engine) Wake(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wait := wakeApart - time.Since(e.woken)
	switch {
	case e.woken.IsZero() || wait <= 0:
		e.wake(reason)
	case e.waking == nil && e.running != nil:
		e.waking = time.AfterFunc(wait, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.waking != nil {
				e.wake(reason)
			}
		})
	}
}

// wake is Wake without its limit. The caller holds mu.
func (e *Engine) wake(reason string) {
	e.cancelWake()
	e.woken = time.Now()
	e.conf.Log.Info().Str("reason", reason).Msg("retrying immediately")
	e.askAtOnce()
	e.change(func(v *view) { v.status.Counts.Wakes++ })
}

// cancelWake cancels the wake that comes next. The caller holds mu.
func (e *Engine) cancelWake() {
	if e.waking != nil {
		e.waking.Stop()
		e.waking = nil
	}
}
