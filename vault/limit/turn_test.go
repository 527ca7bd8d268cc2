package limit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		end, err := turns.Take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if other, err := turns.Take(t.Context(), "b"); err != nil {
			t.Error("another has to wait:", err)
		} else {
			other()
		}
		var order []int
		done := make(chan struct{}, 3)
		for i := range 3 {
			go func() {
				end, err := turns.Take(t.Context(), "a")
				if err == nil {
					order = append(order, i)
					end()
				}
				done <- struct{}{}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.Take(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		end()
		for range 3 {
			<-done
		}
		if !slices.Equal(order, []int{0, 1, 2}) {
			t.Errorf("in the order %v", order)
		}
		if len(turns.names) != 0 {
			t.Errorf("remembers %v", turns.names)
		}
	})
}

// Those that wait get their turns many at once, when so many are free, in order.
func TestTurnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &Turns{limit: 4, atOnce: 2, names: map[string]*turns{}}
		ends := make(chan func(), 10)
		ended := 0
		take := func() {
			go func() {
				end, err := turns.Take(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				ends <- end
			}()
			synctest.Wait()
		}
		for range 9 {
			take()
		}
		for _, want := range []int{4, 4, 6, 6, 8, 8, 9, 9, 9} { // have had a turn, after so many ended
			if got := ended + len(ends); got != want {
				t.Errorf("%d have had a turn after %d ended, want %d", got, ended, want)
			}
			(<-ends)()
			ended++
			synctest.Wait()
		}
		if len(turns.names) != 0 {
			t.Errorf("remembers %v", turns.names)
		}
	})
}
