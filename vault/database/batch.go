package database

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
)

// Every commit waits for the disk. So that a thousand agents that reveal at once don't wait for a thousand syncs, the
// goroutine that gets to write also commits what others have queued, in one transaction. Each write is undone
// separately if it is refused.

// maxBatch is the maximum number of writes that share a commit.
const maxBatch = 128

// Writer is the connection that a Batcher writes on. Between Begin and Commit or Rollback it is a transaction during which
// nobody else writes, in any process. It is used by one goroutine at a time.
type Writer interface {
	Tx
	Begin() error
	Commit() error
	Rollback() // undoes the transaction, unless it was committed
}

// Batcher runs the writes of a database, on one connection. It is safe for concurrent use.
type Batcher struct {
	writer Writer
	queue  queue
	turn   chan struct{}   // a semaphore of one: holds the token of the goroutine that uses writer
	open   context.Context // done after Close
	close  context.CancelFunc
}

// NewBatcher returns the Batcher of a writer.
func NewBatcher(w Writer) *Batcher {
	b := &Batcher{writer: w, turn: make(chan struct{}, 1)}
	b.open, b.close = context.WithCancel(context.Background())
	return b
}

// job is one queued write.
type job struct {
	do       func(Tx) error
	err      error
	panicked any           // what do panicked with
	done     chan struct{} // closed when err and panicked are final
}

var errPanicked = errors.New("a write panicked")

// run calls do, and records a panic: it belongs to the goroutine that queued the job, which may not be this one.
func (j *job) run(tx Tx) (err error) {
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

// Queued is the number of writes that wait for their turn.
func (b *Batcher) Queued() int {
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	return len(b.queue.jobs)
}

// TakeTurn waits until no other goroutine uses the writer, which is the caller's until GiveTurn. Errors: ErrClosed, ctx's.
func (b *Batcher) TakeTurn(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if b.open.Err() != nil {
		b.GiveTurn()
		return ErrClosed
	}
	return nil
}

// GiveTurn ends the turn that TakeTurn began.
func (b *Batcher) GiveTurn() { <-b.turn }

// Closed is closed by Close.
func (b *Batcher) Closed() <-chan struct{} { return b.open.Done() }

// Close makes later writes fail with ErrClosed, and waits for the one under way. It reports false if it was called before.
// The caller has the writer then, and must call GiveTurn when it has closed it.
func (b *Batcher) Close() bool {
	if b.open.Err() != nil {
		return false
	}
	b.close()
	b.turn <- struct{}{}
	return true
}

// Write is DB.Write.
func (b *Batcher) Write(ctx context.Context, do func(Tx) error) error {
	j := &job{do: do, done: make(chan struct{})}
	b.queue.add(j)
	for {
		select {
		case <-j.done:
			return j.result()
		case b.turn <- struct{}{}:
			b.commitQueued()
			b.GiveTurn()
		case <-ctx.Done():
			if b.queue.drop(j) {
				return ctx.Err()
			}
			<-j.done // it may have been committed
			return j.result()
		}
	}
}

// commitQueued commits the queued jobs. The caller has the turn; its own job may be among them, or done already.
func (b *Batcher) commitQueued() {
	jobs := b.queue.take()
	defer func() {
		for _, j := range jobs {
			close(j.done)
		}
	}()
	if b.open.Err() != nil {
		fail(jobs, ErrClosed)
		return
	}
	if len(jobs) == 0 || b.commit(jobs) {
		return
	}
	for _, j := range jobs {
		j.err, j.panicked = nil, nil
		b.commit([]*job{j})
	}
}

// commit runs jobs in one transaction. If the database fails one of several jobs, commit returns false with nothing
// committed: the failure may have undone the others too, so each needs a transaction of its own.
func (b *Batcher) commit(jobs []*job) bool {
	tx := b.writer
	if err := tx.Begin(); err != nil {
		fail(jobs, err)
		return true
	}
	defer tx.Rollback()
	if len(jobs) == 1 {
		err := jobs[0].run(tx)
		if err == nil {
			err = tx.Commit()
		}
		jobs[0].err = err
		return true
	}
	for _, j := range jobs {
		if tx.Defer("SAVEPOINT one") != nil {
			return false
		}
		if j.err = j.run(tx); j.err != nil {
			if _, refused := errors.AsType[*api.Error](j.err); !refused || tx.Defer("ROLLBACK TO SAVEPOINT one") != nil {
				return false
			}
		}
		if tx.Defer("RELEASE SAVEPOINT one") != nil {
			return false
		}
	}
	err := tx.Commit()
	if err != nil && !errors.Is(err, ErrUncertain) {
		return false // it may be that of a deferred statement
	}
	fail(jobs, err)
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
