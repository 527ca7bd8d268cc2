package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/pace"
)

// Output is a file or directory that is kept equal to the set. Its methods are called by one goroutine at a time, except
// Counts.
type Output interface {
	// Name returns its path, which is unique among outputs.
	Name() string
	// Write replaces its content by the set. Writing the same set twice is harmless. After an error the old content stays.
	// The engine retries, unless the error is one of Unfitting. Write must not wait for a hook: a revocation can't remove
	// the content before it returns.
	Write(api.Snapshot) error
	// Remove removes the content. Removing twice is harmless.
	Remove() error
	// Keep reports whether the content stays when the engine ends or gets other outputs. A revocation removes it anyway.
	Keep() bool
	// Counts returns the number of variables in it and, since it was created, of writes (except those that found the
	// content in place), of runs of its hook that have ended, and of those that have failed or were killed.
	Counts() (variables int, writes, hooks, hookFailures int64)
}

// Unfitting marks an error of Output.Write as permanent: the output can't represent this set.
func Unfitting(err error) error { return &unfitting{err} }

type unfitting struct{ error }

func (u *unfitting) Unwrap() error { return u.error }

// outlet keeps one output equal to the set.
type outlet struct {
	Output
	engine   *Engine
	nudged   chan struct{}   // signals that there may be something to do
	rewrite  atomic.Bool     // the output is written even if it holds the set
	replaced atomic.Bool     // another outlet takes over when this one ends
	before   <-chan struct{} // closed when the outlet that this one replaces has ended; nil: none
	ended    chan struct{}   // closed when this one has

	// Guarded by engine.mu.
	stop   context.CancelFunc // ends it; nil: it wasn't started
	status OutputStatus       // without counts
}

// SetOutputs sets the outputs. Outputs that are no longer among them are removed, unless they ask to be kept. An output
// takes over from one of the same name.
func (e *Engine) SetOutputs(outputs []Output) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.outlets
	e.outlets = nil
	for _, out := range outputs {
		o := &outlet{Output: out, engine: e, nudged: make(chan struct{}, 1), ended: make(chan struct{})}
		o.status = OutputStatus{Name: out.Name(), State: Pending}
		for _, b := range old {
			if b.Name() != out.Name() {
				continue
			}
			if b.stop != nil {
				o.before = b.ended
			}
			if b.Output == out {
				o.status.WrittenAt, o.status.Failures = b.status.WrittenAt, b.status.Failures
			}
			b.replaced.Store(true)
		}
		e.outlets = append(e.outlets, o)
		if e.running != nil {
			e.start(o)
		}
	}
	for _, b := range old {
		if b.stop != nil {
			b.stop()
		}
	}
	e.change(func(*view) {})
}

// Rewrite writes one output again, after another process has changed or deleted it for example.
func (e *Engine) Rewrite(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.outlets {
		if o.Name() == name {
			o.rewrite.Store(true)
			o.nudge()
		}
	}
}

// start starts an outlet while Run runs. The caller holds mu.
func (e *Engine) start(o *outlet) {
	ctx, cancel := context.WithCancel(e.running)
	o.stop = cancel
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

// run keeps the output equal to what is served until ctx ends.
func (o *outlet) run(ctx context.Context) {
	if o.before != nil {
		<-o.before // soon: the methods of outputs don't block
	}
	written, removed := "", false // what the output holds; after an error that isn't known
	failures, retries := 0, pace.NewRetry()
	o.nudge()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			o.leave()
			return
		case <-o.nudged:
		case <-retry.C:
		}
		retry.Stop()
		if o.rewrite.Swap(false) {
			written = ""
		}
		v := o.engine.served()
		revoked := v.status.State == Refused
		var err error
		switch {
		case v.serves() && v.set.Etag != written:
			written, removed = "", false
			_, before, _, _ := o.Counts()
			if err = o.Write(v.set); err == nil {
				written = v.set.Etag
				_, after, _, _ := o.Counts()
				o.done(Written, after > before)
			}
		case revoked && !removed:
			written = ""
			if err = o.Remove(); err == nil {
				removed = true
				o.done(Removed, false)
			}
		}
		if err == nil {
			failures = 0
			retries.Reset()
			continue
		}
		failures++
		switch again := o.failed(err, failures, revoked); {
		case again && revoked:
			retry.Reset(pace.FirstRetry) // values must not stay
		case again:
			retry.Reset(retries.Next())
		default:
			written = v.set.Etag // until there is another set
		}
	}
}

// done notes that the output is up to date. anew means that its content was written, and not found in place.
func (o *outlet) done(state OutputState, anew bool) {
	if state == Removed {
		o.engine.conf.Log.Info().Str("output", o.Name()).Msg("output removed")
	} else {
		o.engine.conf.Log.Debug().Str("output", o.Name()).Msg("output is up to date")
	}
	o.update(func(s *OutputStatus) {
		s.State, s.Error, s.Hint = state, "", ""
		if state == Removed {
			s.WrittenAt = time.Time{}
		} else if anew || s.WrittenAt.IsZero() {
			s.WrittenAt = time.Now().UTC()
		}
	})
}

// failed notes an error, and reports whether to try again.
func (o *outlet) failed(err error, failures int, revoked bool) (again bool) {
	state := Failed
	if _, unfit := errors.AsType[*unfitting](err); unfit {
		state = Unfit
	}
	o.update(func(s *OutputStatus) {
		s.State, s.Error, s.Hint = state, api.RedactKeys(err.Error()), hintOf(err)
		s.Failures++
	})
	event := o.engine.conf.Log.Debug()
	if failures == 1 {
		event = o.engine.conf.Log.Error()
	}
	withHint(event, err).Str("output", o.Name()).Int("attempt", failures).Bool("revoked", revoked).Msg("output not updated")
	return state != Unfit || revoked
}

// leave removes the output at the end, unless it asks to be kept or another outlet takes over.
func (o *outlet) leave() {
	if o.Keep() || o.replaced.Load() {
		return
	}
	if err := o.Remove(); err != nil {
		withHint(o.engine.conf.Log.Error(), err).Str("output", o.Name()).Msg("cannot remove output")
	}
}

// withOutputs adds the outputs to a status.
func (e *Engine) withOutputs(s Status) Status {
	e.mu.Lock()
	outlets := e.outlets
	s.Outputs = make([]OutputStatus, len(outlets))
	for i, o := range outlets {
		s.Outputs[i] = o.status
	}
	e.mu.Unlock()
	for i, o := range outlets {
		to := &s.Outputs[i]
		to.Bindings, to.Writes, to.Hooks, to.HookFailures = o.Counts()
	}
	return s
}

// update changes the output's status.
func (o *outlet) update(change func(*OutputStatus)) {
	o.engine.publish(func(*view) { change(&o.status) })
}
