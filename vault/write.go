package vault

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
)

// Every commit waits for the disk. So that a thousand agents that reveal at once don't wait for a
// thousand syncs, whoever gets to write commits what the others behind it brought along, in one
// transaction, each undone on its own when it is refused.

// maxTogether is how many writes share a commit at most.
const maxTogether = 128

// job is one write on its way.
type job struct {
	actor Actor
	do    func(*txn) error
	wakes map[topic]struct{}
	renew bool // the schedule of renewals has changed
	err   error
	done  chan struct{} // closed when the fields above are final
}

// queue holds the writes that nobody has taken up yet, in the order they came.
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
	n := min(len(q.jobs), maxTogether)
	taken := q.jobs[:n:n]
	q.jobs = q.jobs[n:]
	return taken
}

// drop withdraws a job, unless somebody has taken it up.
func (q *queue) drop(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.jobs, j)
	if i >= 0 {
		q.jobs = slices.Delete(q.jobs, i, i+1)
	}
	return i >= 0
}

// write runs do in a transaction that holds the one write lock, after making sure the actor's key still
// stands. What do audited commits with what it changed, or neither does. Whoever do asked to wake is
// woken after the commit. do may be run twice, the first time undone, so what it leaves outside the
// transaction must not depend on how often it ran.
func (s *Store) write(ctx context.Context, a Actor, do func(*txn) error) error {
	j := &job{actor: a, do: do, done: make(chan struct{})}
	s.queue.add(j)
	for {
		select {
		case <-j.done:
			return s.finish(j)
		case s.turn <- struct{}{}:
			s.commitQueued()
			s.giveTurn()
		case <-ctx.Done():
			if s.queue.drop(j) {
				return ctx.Err()
			}
			<-j.done // it may have been committed: tell
			return s.finish(j)
		}
	}
}

func (s *Store) finish(j *job) error {
	if j.err != nil {
		return s.refusal(j.err, true)
	}
	s.sick.Store(false)
	s.hub.wake(j.wakes)
	if j.renew {
		nudge(s.renewals)
	}
	return nil
}

// commitQueued commits what is queued. The caller has the turn; its own job may be among them, or have been
// done before by another.
func (s *Store) commitQueued() {
	jobs := s.queue.take()
	defer func() {
		for _, j := range jobs {
			close(j.done)
		}
	}()
	select {
	case <-s.closed:
		fail(jobs, errClosed)
		return
	default:
	}
	if len(jobs) == 0 || s.commit(jobs) {
		return
	}
	for _, j := range jobs {
		j.err = nil
		s.commit([]*job{j})
	}
}

// commit runs jobs in one transaction. It returns false, with nothing committed, when the database
// failed one of them, since that may have undone the others too: each then deserves a transaction of its own.
func (s *Store) commit(jobs []*job) bool {
	ctx := context.Background() // a client that hangs up doesn't interrupt what others share
	begun, err := s.db.write.begin(ctx, nil)
	if err != nil {
		fail(jobs, err)
		return true
	}
	defer func() { _ = begun.Rollback() }()
	if len(jobs) == 1 {
		if err = s.perform(ctx, jobs[0]); err == nil {
			err = begun.Commit()
		}
		jobs[0].err = err
		return true
	}
	for _, j := range jobs {
		if _, err := s.db.write.exec(ctx, "SAVEPOINT one"); err != nil {
			return false
		}
		if j.err = s.perform(ctx, j); j.err != nil {
			var ours *api.Error
			if !errors.As(j.err, &ours) {
				return false
			}
			if _, err := s.db.write.exec(ctx, "ROLLBACK TO SAVEPOINT one"); err != nil {
				return false
			}
		}
		if _, err := s.db.write.exec(ctx, "RELEASE SAVEPOINT one"); err != nil {
			return false
		}
	}
	if err := begun.Commit(); err != nil {
		fail(jobs, err)
	}
	return true
}

func (s *Store) perform(ctx context.Context, j *job) error {
	t := &txn{conn: s.db.write, ctx: ctx, store: s, actor: j.actor, now: now(), wakes: map[topic]struct{}{}}
	j.wakes = t.wakes
	if err := t.checkKey(); err != nil {
		return err
	}
	err := j.do(t)
	j.renew = t.renews
	return err
}

// fail gives all jobs that weren't refused before one error.
func fail(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
	}
}
