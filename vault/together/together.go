// Package together runs jobs that arrive while others run as one batch, since many of them take little more time than one.
package together

import "sync"

// Queue runs jobs in batches. It is safe for concurrent use.
type Queue[Job any] struct {
	run      func([]*Job)
	maxBatch int           // jobs
	turns    chan struct{} // a semaphore: holds a token for each goroutine that runs a batch

	mu   sync.Mutex // guards jobs
	jobs []*queued[Job]
}

// queued is a job that no goroutine has taken yet, or that runs.
type queued[Job any] struct {
	job      *Job
	panicked any           // what run panicked with
	done     chan struct{} // closed when panicked is final
}

// New returns a Queue that calls run with at most maxBatch jobs, on at most so many goroutines at the same time. run puts the results
// into the jobs.
func New[Job any](maxBatch, goroutines int, run func([]*Job)) *Queue[Job] {
	return &Queue[Job]{run: run, maxBatch: maxBatch, turns: make(chan struct{}, goroutines)}
}

// Start queues a job. wait returns when a batch with it has run, on its goroutine or on another one that waits or calls Run. If that
// panicked, so does wait.
func (q *Queue[Job]) Start(job *Job) (wait func()) {
	j := &queued[Job]{job: job, done: make(chan struct{})}
	q.mu.Lock()
	q.jobs = append(q.jobs, j)
	q.mu.Unlock()
	return func() {
		for {
			select {
			case <-j.done:
				if j.panicked != nil {
					panic(j.panicked)
				}
				return
			case q.turns <- struct{}{}:
				q.runBatch()
				<-q.turns
			}
		}
	}
}

// Run waits for a turn, and runs a batch of the jobs that are queued then.
func (q *Queue[Job]) Run() {
	q.turns <- struct{}{}
	q.runBatch()
	<-q.turns
}

// runBatch runs the oldest jobs, if there are any.
func (q *Queue[Job]) runBatch() {
	q.mu.Lock()
	n := min(len(q.jobs), q.maxBatch)
	batch := q.jobs[:n:n]
	if q.jobs = q.jobs[n:]; len(q.jobs) == 0 {
		q.jobs = nil // otherwise its array would keep jobs that have run in memory
	}
	q.mu.Unlock()
	if n == 0 {
		return
	}
	defer func() {
		p := recover()
		for _, j := range batch {
			j.panicked = p
			close(j.done)
		}
	}()
	jobs := make([]*Job, n)
	for i, j := range batch {
		jobs[i] = j.job
	}
	q.run(jobs)
}
