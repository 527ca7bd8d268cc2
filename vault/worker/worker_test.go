package worker_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/worker"
)

// Functions run at the same time, however many there are, and Run returns when its own has.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := worker.New()
		for range 2 {
			var running, most, ended atomic.Int32
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					begun := time.Now()
					p.Run(func() {
						most.Store(max(most.Load(), running.Add(1)))
						<-time.After(time.Duration(i+1) * time.Second)
						running.Add(-1)
						ended.Add(1)
					})
					if took := time.Since(begun); took != time.Duration(i+1)*time.Second {
						t.Errorf("returned after %v", took)
					}
				})
			}
			all.Wait()
			if most.Load() != 20 || ended.Load() != 20 {
				t.Errorf("%d at the same time, %d in all", most.Load(), ended.Load())
			}
		}
		for range 100 {
			ran := false
			p.Run(func() { ran = true })
			if !ran {
				t.Fatal("not run")
			}
		}
		p.Close()
		synctest.Wait()
	}) // which fails if a goroutine remains
}

// Goroutines end by themselves when nothing runs.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker.New().Run(func() {})
		<-time.After(time.Minute)
	})
}
