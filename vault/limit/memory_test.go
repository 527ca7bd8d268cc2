package limit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&Values{Memory: 100, TenantMemory: 50})
		grow := func(s *Share, bytes int64) (took time.Duration, err error) {
			begun := time.Now()
			err = s.Grow(t.Context(), bytes)
			return time.Since(begun), err
		}
		first, second, other := b.Share("a"), b.Share("a"), b.Share("b")
		if _, err := grow(first, 40); err != nil {
			t.Fatal(err)
		}
		// The tenant has no more; another has.
		refused := make(chan error)
		go func() { _, err := grow(second, 20); refused <- err }()
		synctest.Wait()
		if took, err := grow(other, 1000); err != nil || took != 0 {
			t.Errorf("another tenant waited %v: %v", took, err)
		}
		wantLimit(t, <-refused, api.ErrRateLimited, "tenant_memory")
		// What is released goes to those who wait.
		time.AfterFunc(time.Second, first.Release)
		if took, err := grow(second, 20); err != nil || took != time.Second {
			t.Errorf("got memory after %v: %v", took, err)
		}
		if b.Used() != 70 {
			t.Errorf("%d bytes are in use", b.Used())
		}
		// A smaller size needs nothing.
		if took, err := grow(second, 10); err != nil || took != 0 || b.Used() != 70 {
			t.Errorf("%v after %v, %d in use", err, took, b.Used())
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := first.Grow(ctx, 50); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		second.Release()
		other.Release()
		first.Release()
		if b.Used() != 0 || len(b.of) != 0 || len(b.waiting) != 0 {
			t.Errorf("%d bytes are left, of %v", b.Used(), b.of)
		}
	})
}

// One that waits for much isn't overtaken for ever by those who need little.
func TestBudgetIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&Values{Memory: 100, TenantMemory: 100})
		first, large, small := b.Share("a"), b.Share("b"), b.Share("c")
		if err := first.Grow(t.Context(), 60); err != nil {
			t.Fatal(err)
		}
		var order []string
		done := make(chan struct{})
		go func() { _ = large.Grow(t.Context(), 80); order = append(order, "large"); large.Release(); close(done) }()
		synctest.Wait()
		time.AfterFunc(time.Second, first.Release)
		if err := small.Grow(t.Context(), 30); err != nil {
			t.Fatal(err)
		}
		<-done
		if len(order) != 1 || b.Used() != 30 {
			t.Errorf("%v, %d in use", order, b.Used())
		}
	})
}
