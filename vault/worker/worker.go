// Package worker runs functions on goroutines that it reuses, since the stack of a new goroutine is copied several times while it
// grows during one reveal. The callers, goroutines that wait for a change, keep their small stacks.
package worker

import (
	"sync"
	"time"
)

// idle is how long a goroutine waits for the next function before it ends.
const idle = time.Second

// Pool has at least as many goroutines as functions run at the same time.
type Pool struct {
	jobs   chan func()
	closed chan struct{}
	close  func()
}

// New returns a Pool without goroutines.
func New() *Pool {
	p := &Pool{jobs: make(chan func()), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

// Close ends the goroutines that run nothing.
func (p *Pool) Close() { p.close() }

// Run runs f, which must not panic, on a goroutine of the pool, and returns when f has.
func (p *Pool) Run(f func()) {
	done := make(chan struct{})
	job := func() {
		defer close(done)
		f()
	}
	select {
	case p.jobs <- job:
	default:
		go p.work(job)
	}
	<-done
}

func (p *Pool) work(job func()) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		job()
		timer.Reset(idle)
		select {
		case job = <-p.jobs:
		case <-timer.C:
			return
		case <-p.closed:
			return
		}
	}
}
