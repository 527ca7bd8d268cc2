package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Output is a file or directory that is kept equal to the set. Its methods are called by one goroutine at a time, except
// for Counts.
type Output interface {
	// Name is its path, unique among outputs.
	Name() string
	// Write makes it hold the set. Writing the same set twice is harmless. After an error the last good content stands;
	// the write is retried, unless the error is of Unfitting. Write must not wait for a hook: until it returns, a
	// revocation can't remove the content.
	Write(api.Snapshot) error
	// Remove removes the content. Removing twice is harmless.
	Remove() error
	// Keep reports whether the content stays when the engine ends or has other outputs. A revocation removes it all the same.
	Keep() bool
	// Counts is what it has done since it was made: variables that it holds, times its content was written (not those
	// that found it in place), runs of its hook that have ended, and those of them that failed or were killed.
	Counts() (variables int, writes, hooks, hookFailures int64)
}

// Unfitting marks an error of Output.Write that a retry won't change: the output can't hold this set.
func Unfitting(err error) error { return &unfitting{err} }

type unfitting struct{ error }

func (u *unfitting) Unwrap() error { return u.error }

// outlet keeps one output.
type outlet struct {
	Output
	agent  *Engine
	nudged chan struct{}   // something may be to do
	again  chan struct{}   // write, whatever was written
	forget chan bool       // closed when it is to end; true first: it is removed
	ended  chan struct{}   // closed when it has ended
	before <-chan struct{} // closed when the one of this name before it has ended; may be nil
	begun  bool            // guarded by agent.mu
}

// SetOutputs keeps these outputs from now on. One that isn't among them is removed, unless it asks to
// be kept; one of the same name takes over from the one before.
func (e *Engine) SetOutputs(outputs []Output) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.outlets
	e.outlets = nil
	status := []OutputStatus{}
	for _, out := range outputs {
		o := &outlet{
			Output: out, agent: e, nudged: make(chan struct{}, 1), again: make(chan struct{}, 1),
			forget: make(chan bool, 1), ended: make(chan struct{}),
		}
		entry := OutputStatus{Name: out.Name(), State: Pending}
		if i := slices.IndexFunc(old, func(b *outlet) bool { return b.Name() == out.Name() }); i >= 0 {
			if old[i].begun {
				o.before = old[i].ended
			}
			if old[i].Output == out {
				for _, was := range e.now.Load().status.Outputs {
					if was.Name == entry.Name {
						entry.WrittenAt, entry.Bindings, entry.Failures = was.WrittenAt, was.Bindings, was.Failures
					}
				}
			}
			close(old[i].forget)
			old = slices.Delete(slices.Clone(old), i, i+1)
		}
		e.outlets, status = append(e.outlets, o), append(status, entry)
		if e.running != nil {
			e.start(o)
		}
	}
	for _, gone := range old {
		gone.forget <- true
		close(gone.forget)
	}
	e.change(func(v *view) { v.status.Outputs = status })
}

// Rewrite writes one output again, such as after somebody changed or deleted it.
func (e *Engine) Rewrite(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.outlets {
		if o.Name() == name {
			trySend(o.again)
		}
	}
}

// start is for who holds mu, while running.
func (e *Engine) start(o *outlet) {
	ctx := e.running
	o.begun = true
	e.tasks.Go(func() { defer close(o.ended); o.run(ctx) })
}

func (o *outlet) nudge() { trySend(o.nudged) }

// trySend sends to a channel with room for one, unless it is full.
func trySend(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps the output equal to what is served until ctx ends or it is forgotten.
func (o *outlet) run(ctx context.Context) {
	if o.before != nil {
		<-o.before // which never waits long: an output's methods don't block
	}
	written, removed := "", false // what the output holds
	failures, retries := 0, newRetry()
	o.nudge()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			o.leave()
			return
		case remove := <-o.forget:
			if remove {
				o.leave()
			}
			return
		case <-o.nudged:
		case <-o.again:
			written = ""
		case <-retry.C:
		}
		retry.Stop()
		v := o.agent.served()
		var err error
		switch {
		case v.serves() && v.set.Etag != written:
			removed = false
			_, before, _, _ := o.Counts()
			if err = o.Write(v.set); err == nil {
				written = v.set.Etag
				now := OutputStatus{State: Written, Bindings: len(v.set.Bound)}
				if _, writes, _, _ := o.Counts(); writes > before {
					now.WrittenAt = time.Now().UTC()
				}
				o.tell(now)
			}
		case v.status.State == Refused && !removed:
			if err = o.Remove(); err == nil {
				written, removed = "", true
				o.tell(OutputStatus{State: Removed})
			}
		}
		if err == nil {
			failures = 0
			retries.Reset()
			continue
		}
		failures++
		revoked := v.status.State == Refused
		if again := o.failed(err, failures, revoked); again && revoked {
			retry.Reset(firstRetry) // nothing may stay for longer than it must
		} else if again {
			retry.Reset(retries.Next())
		} else {
			written = v.set.Etag // as good as it gets, until there is another set
		}
	}
}

// failed notes an error, and reports whether to try again.
func (o *outlet) failed(err error, failures int, revoked bool) (again bool) {
	_, unfit := errors.AsType[*unfitting](err)
	state := Failed
	if unfit {
		state = Unfit
	}
	text, hint := api.RedactKeys(err.Error()), api.RedactKeys(hintOf(err))
	o.update(func(s *OutputStatus) {
		s.State, s.Error, s.Hint = state, text, hint
		s.Failures++
	})
	event := o.agent.conf.Log.Debug()
	if failures == 1 {
		event = o.agent.conf.Log.Error()
	}
	if hint != "" {
		event = event.Str("hint", hint)
	}
	event.Err(err).Str("output", o.Name()).Int("attempt", failures).Bool("revoked", revoked).Msg("output not updated")
	return !unfit || revoked
}

// hintOf is what an error says to do about it, or empty.
func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// leave removes the output for good, unless it asks to stay.
func (o *outlet) leave() {
	if o.Keep() {
		return
	}
	if err := o.Remove(); err != nil {
		event := o.agent.conf.Log.Error()
		if hint := hintOf(err); hint != "" {
			event = event.Str("hint", hint)
		}
		event.Err(err).Str("output", o.Name()).Msg("cannot remove output")
	}
}

func (o *outlet) tell(s OutputStatus) {
	if s.State == Removed {
		o.agent.conf.Log.Info().Str("output", o.Name()).Msg("output removed")
	} else {
		o.agent.conf.Log.Debug().Str("output", o.Name()).Msg("output is up to date")
	}
	o.update(func(to *OutputStatus) {
		s.Name, s.Failures = to.Name, to.Failures
		if s.State == Written && s.WrittenAt.IsZero() {
			s.WrittenAt = to.WrittenAt
			if s.WrittenAt.IsZero() {
				s.WrittenAt = time.Now().UTC()
			}
		}
		*to = s
	})
}

// counted adds to a status what outputs have done.
func (e *Engine) counted(s Status) Status {
	if len(s.Outputs) == 0 {
		return s
	}
	e.mu.Lock()
	outlets := e.outlets
	e.mu.Unlock()
	for i := range s.Outputs {
		for _, o := range outlets {
			if to := &s.Outputs[i]; o.Name() == to.Name {
				to.Bindings, to.Writes, to.Hooks, to.HookFailures = o.Counts()
			}
		}
	}
	return s
}

// update changes the output's part of the status, while it is the one of its name.
func (o *outlet) update(change func(*OutputStatus)) {
	o.agent.publish(func(v *view) {
		if !slices.Contains(o.agent.outlets, o) {
			return
		}
		v.status.Outputs = slices.Clone(v.status.Outputs)
		for i := range v.status.Outputs {
			if v.status.Outputs[i].Name == o.Name() {
				change(&v.status.Outputs[i])
			}
		}
	})
}
