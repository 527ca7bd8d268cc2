package together_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/vault/together"
)

// Jobs that arrive while a batch runs are in the next ones, in order, at most so many in each.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := make(chan struct{})
		var batches [][]int
		q := together.New(3, 1, func(jobs []*int) {
			var batch []int
			for _, j := range jobs {
				batch = append(batch, *j)
				*j *= 10
			}
			batches = append(batches, batch)
			<-begin
		})
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				job := i
				q.Start(&job)()
				if job != 10*i {
					t.Errorf("job %d is %d", i, job)
				}
			})
			synctest.Wait() // the first one runs, and the others queue
		}
		close(begin)
		all.Wait()
		if diff := cmp.Diff([][]int{{0}, {1, 2, 3}, {4, 5}}, batches); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// A panic belongs to all jobs of its batch, and to no other.
func TestPanic(t *testing.T) {
	q := together.New(1, 2, func(jobs []*bool) {
		if *jobs[0] {
			panic("a job")
		}
	})
	for _, panics := range []bool{true, false, true} {
		func() {
			defer func() {
				if p := recover(); (p != nil) != panics {
					t.Errorf("got %v", p)
				}
			}()
			q.Start(&panics)()
		}()
	}
}

// Jobs that are queued run together, by Run or by one that waits.
func TestStart(t *testing.T) {
	var batches []int
	q := together.New(10, 1, func(jobs []*int) {
		batches = append(batches, len(jobs))
		for _, j := range jobs {
			*j *= 10
		}
	})
	for _, run := range []func(){q.Run, func() {}} {
		jobs := []int{1, 2, 3}
		var waits []func()
		for i := range jobs {
			waits = append(waits, q.Start(&jobs[i]))
		}
		run()
		for _, wait := range waits {
			wait()
		}
		if diff := cmp.Diff([]int{10, 20, 30}, jobs); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	q.Run() // nothing
	if diff := cmp.Diff([]int{3, 3}, batches); diff != "" {
		t.Errorf("batches (-want +got)\n%s", diff)
	}
}
