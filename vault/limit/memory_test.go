package limit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// A limit of less than a byte is one of a byte, not none.
func TestBudget_Least(t *testing.T) {
	for _, v := range []Values{{Memory: 0.5}, {Memory: 100, TenantMemory: 0.5}} {
		b := NewBudget(&v)
		if err := b.Share("a").Grow(t.Context(), 1000); err != nil || b.Used() != 1 {
			t.Errorf("%d bytes are in use, %v", b.Used(), err)
		}
	}
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&Values{Memory: 100, TenantMemory: 60})
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
		go func() { _, err := grow(second, 30); refused <- err }()
		synctest.Wait()
		if took, err := grow(other, 30); err != nil || took != 0 {
			t.Errorf("another tenant waited %v: %v", took, err)
		}
		wantLimit(t, <-refused, api.ErrRateLimited, "tenant_memory")
		// What is released goes to those who wait.
		time.AfterFunc(time.Second, first.Release)
		if took, err := grow(second, 20); err != nil || took != time.Second {
			t.Errorf("got memory after %v: %v", took, err)
		}
		if b.Used() != 50 {
			t.Errorf("%d bytes are in use", b.Used())
		}
		// A smaller size needs nothing.
		if took, err := grow(second, 10); err != nil || took != 0 || b.Used() != 50 {
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

// One that waits for much isn't overtaken by those who would have more, and by others for seconds at most.
func TestBudgetIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&Values{Memory: 100, TenantMemory: 100})
		first, more, large, small := b.Share("a"), b.Share("a"), b.Share("b"), b.Share("c")
		if err := first.Grow(t.Context(), 30); err != nil {
			t.Fatal(err)
		}
		granted := make(chan string, 2)
		wait := func(name string, s *Share, bytes int64) {
			go func() {
				if err := s.Grow(t.Context(), bytes); err != nil {
					t.Error(err)
				}
				granted <- name
				s.Release()
			}()
			synctest.Wait()
		}
		wait("large", large, 50)
		wait("more", more, 20)
		if err := small.Grow(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if len(granted) != 0 {
			t.Errorf("%v before there was room", <-granted)
		}
		small.Release()
		first.Release()
		<-granted
		<-granted
		synctest.Wait()
		if b.Used() != 0 {
			t.Errorf("%d in use", b.Used())
		}
	})
}

// However many tenants hold all the memory that they get, there is some for a further one, at once.
func TestAttack_MemoryOfTenantsTogether(t *testing.T) {
	for _, bytes := range []int64{1, 5, 16, 64} {
		synctest.Test(t, func(t *testing.T) {
			b := NewBudget(&Values{Memory: 128, TenantMemory: 64})
			for _, tenant := range []string{"a", "b", "c"} {
				for b.Share(tenant).Grow(t.Context(), bytes) == nil { // until one is refused
				}
				go func() { _ = b.Share(tenant).Grow(t.Context(), 64) }() // and one always waits
				synctest.Wait()
			}
			begun := time.Now()
			if err := b.Share("further").Grow(t.Context(), 4); err != nil || time.Since(begun) != 0 {
				t.Errorf("requests of %d bytes: another tenant waited %v: %v; %d are in use, of %v", bytes, time.Since(begun), err, b.Used(), b.of)
			}
			<-time.After(time.Minute) // those that wait end
		})
	}
}

// The largest request is served while others have a part of the memory.
func TestBudgetOfLargestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&Values{Memory: 128})
		if err := b.Share("a").Grow(t.Context(), 32); err != nil {
			t.Fatal(err)
		}
		if err := b.Share("b").Grow(t.Context(), 1000); err != nil || b.Used() != 32+64 {
			t.Errorf("%v, %d in use", err, b.Used())
		}
	})
}

// Memory that is in use already is counted at once, beyond the limit too, and others wait for it.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&Values{Memory: 100, TenantMemory: 100})
		held, other := b.Share("a"), b.Share("b")
		held.Hold(70)
		held.Hold(60) // has it
		held.Hold(120)
		if b.Used() != 120 {
			t.Errorf("%d bytes are in use", b.Used())
		}
		begun := time.Now()
		time.AfterFunc(time.Second, held.Release)
		if err := other.Grow(t.Context(), 10); err != nil || time.Since(begun) != time.Second {
			t.Errorf("got memory after %v: %v", time.Since(begun), err)
		}
		other.Release()
		if b.Used() != 0 || len(b.of) != 0 {
			t.Errorf("%d bytes are left, of %v", b.Used(), b.of)
		}
	})
}
