package delay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			d       time.Duration
			timeout time.Duration
			want    error
			took    time.Duration
		}{
			{"to its end", time.Minute, time.Hour, nil, time.Minute},
			{"ctx ends", time.Hour, time.Minute, context.DeadlineExceeded, time.Minute},
			{"no time", 0, time.Minute, nil, 0},
			{"less than none", -time.Hour, time.Minute, nil, 0},
			{"no time, ctx ended", 0, -1, context.DeadlineExceeded, 0},
			{"ctx ended", time.Hour, -1, context.DeadlineExceeded, 0},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			begun := time.Now()
			err := delay.Sleep(ctx, tt.d)
			if took := time.Since(begun); !errors.Is(err, tt.want) || took != tt.took {
				t.Errorf("%s: %v after %s, want %v after %s", tt.name, err, took, tt.want, tt.took)
			}
			cancel()
		}
	})
}

func TestRandom(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, 0, 1, 2, 10 * time.Second} {
		least, most := d, time.Duration(0)
		for range 1000 {
			r := delay.Random(d)
			if r < 0 || r > max(d-1, 0) {
				t.Fatalf("%d: %d", d, r)
			}
			least, most = min(least, r), max(most, r)
			if j := delay.Jitter(d); d >= 0 && (j < d-d/10 || j > d+d/10) {
				t.Fatalf("%d: jitter %d", d, j)
			}
		}
		if d > 2 && (least > d/10 || most < d-d/10) {
			t.Errorf("%d: from %d to %d", d, least, most)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := delay.NewBackoff(100*time.Millisecond, time.Second)
	grows := []time.Duration{100, 200, 400, 800, 1000, 1000} // milliseconds
	for i, want := range grows {
		if got := b.Next(); got != want*time.Millisecond {
			t.Errorf("pause %d is %s, want %d ms", i+1, got, want)
		}
	}
	for range 1_000_000 { // no overflow, and delays without end
		b.Next()
	}
	if got := b.Next(); got != time.Second {
		t.Errorf("after very many attempts: %s, want 1s", got)
	}
	for _, asked := range []time.Duration{0, -time.Hour, time.Minute} {
		b.Reset()
		seen := map[time.Duration]bool{}
		for i, most := range grows {
			most *= time.Millisecond
			least, added := most/2, max(asked, 0)
			if asked > 0 {
				least, most = least/2, max(most/2, time.Second)
			}
			got := b.NextRandom(asked)
			seen[got] = true
			if got < added+least || got > added+most {
				t.Errorf("asked for %s: pause %d is %s, want %s to %s", asked, i+1, got, added+least, added+most)
			}
		}
		if len(seen) < len(grows) {
			t.Errorf("asked for %s: only %d different pauses", asked, len(seen))
		}
	}
}
