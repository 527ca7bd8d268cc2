package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// Every commit waits for the disk. So that a thousand agents that reveal at once don't wait for a thousand syncs, the
// goroutine that gets to write also commits what others have queued, in one transaction. Each write is undone
// separately if it is refused.

// maxBatch is the maximum number of writes that share a commit.
const maxBatch = 128

// job is one queued write.
type job struct {
	do       func(database.Tx) error
	err      error
	panicked any           // what do panicked with
	done     chan struct{} // closed when err and panicked are final
}

var errPanicked = errors.New("a write panicked")

// run calls do, and records a panic: it belongs to the goroutine that queued the job, which may not be this one.
func (j *job) run(tx database.Tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			j.panicked, err = fmt.Sprintf("%v\n\n%s", v, debug.Stack()), errPanicked
		}
	}()
	return j.do(tx)
}

// result returns or panics like do, once done is closed.
func (j *job) result() error {
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

// queue holds the writes that no goroutine has taken yet, in order.
type queue struct {
	mu   sync.Mutex // guards jobs
	jobs []*job
}

func (q *queue) add(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, j)
}

func (q *queue) take() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.jobs), maxBatch)
	taken := q.jobs[:n:n]
	q.jobs = q.jobs[n:]
	return taken
}

// drop removes a job, and reports whether it was still queued.
func (q *queue) drop(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.jobs)
	q.jobs = slices.DeleteFunc(q.jobs, func(other *job) bool { return other == j })
	return len(q.jobs) < n
}

// takeTurn waits until no other goroutine uses the writer. SQLite's lock keeps other processes out.
func (d *db) takeTurn(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.open.Err() != nil {
		d.giveTurn()
		return database.ErrClosed
	}
	return nil
}

func (d *db) giveTurn() { <-d.turn }

// Write implements database.DB.
func (d *db) Write(ctx context.Context, do func(database.Tx) error) error {
	j := &job{do: do, done: make(chan struct{})}
	d.queue.add(j)
	for {
		select {
		case <-j.done:
			return j.result()
		case d.turn <- struct{}{}:
			d.commitQueued()
			d.giveTurn()
		case <-ctx.Done():
			if d.queue.drop(j) {
				return ctx.Err()
			}
			<-j.done // it may have been committed
			return j.result()
		}
	}
}

// commitQueued commits the queued jobs. The caller has the turn; its own job may be among them, or done already.
func (d *db) commitQueued() {
	jobs := d.queue.take()
	defer func() {
		for _, j := range jobs {
			close(j.done)
		}
	}()
	if d.open.Err() != nil {
		fail(jobs, database.ErrClosed)
		return
	}
	if len(jobs) == 0 || d.commit(jobs) {
		return
	}
	for _, j := range jobs {
		j.err, j.panicked = nil, nil
		d.commit([]*job{j})
	}
}

// commit runs jobs in one transaction. If the database fails one of several jobs, commit returns false with nothing
// committed: the failure may have undone the others too, so each needs a transaction of its own.
func (d *db) commit(jobs []*job) bool {
	tx := d.writer
	err := tx.begin(context.Background(), "BEGIN IMMEDIATE") // a client that disconnects doesn't interrupt what others share
	if err != nil {
		fail(jobs, err)
		return true
	}
	defer tx.rollback()
	if len(jobs) == 1 {
		if err = jobs[0].run(tx); err == nil {
			err = tx.commit()
		}
		jobs[0].err = err
		return true
	}
	for _, j := range jobs {
		if tx.Exec("SAVEPOINT one") != nil {
			return false
		}
		if j.err = j.run(tx); j.err != nil {
			if _, refused := errors.AsType[*api.Error](j.err); !refused || tx.Exec("ROLLBACK TO SAVEPOINT one") != nil {
				return false
			}
		}
		if tx.Exec("RELEASE SAVEPOINT one") != nil {
			return false
		}
	}
	if err := tx.commit(); err != nil {
		fail(jobs, err)
	}
	return true
}

// fail sets the error of all jobs that have none.
func fail(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
	}
}
