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
				q.Do(&job)
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
			q.Do(&panics)
		}()
	}
}
