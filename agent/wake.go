package agent

import "time"

const (
	wakeApart = 500 * time.Millisecond // the least time between two wakes
	wakeHurry = 30 * time.Second       // how long pauses are short after a wake
	wakePause = 500 * time.Millisecond // the longest of these pauses
)

// Wake asks the source at once over new connections, unless the vault has asked for no requests. It is called after this
// machine was suspended or cloned, or its clock was set: connections may be dead and the set old. Failures are retried
// faster for wakeHurry.
//
// Wakes within wakeApart of the last one are combined into one at the end of that time. They can't be ignored: the clock
// stands still while a virtual machine is paused, so what looks like the same wake may come after another pause.
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

// cancelWake cancels the next wake. The caller holds mu.
func (e *Engine) cancelWake() {
	if e.waking != nil {
		e.waking.Stop()
		e.waking = nil
	}
}
