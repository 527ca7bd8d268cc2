// Package task runs functions in the background.
package task

import (
	"context"
	"sync"
)

// Task is a function that runs in the background.
type Task struct {
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Start runs a function, which must return soon after its context has ended.
func Start(ctx context.Context, run func(context.Context)) *Task {
	t := &Task{}
	ctx, t.stop = context.WithCancel(ctx)
	t.running.Go(func() { run(ctx) })
	return t
}

// Close ends the function's context and waits until it has returned. It does nothing if t is nil.
func (t *Task) Close() {
	if t != nil {
		t.stop()
		t.running.Wait()
	}
}
