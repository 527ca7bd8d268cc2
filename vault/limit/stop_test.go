package limit

import (
	"testing"
	"time"
)

func TestStopPause(t *testing.T) {
	for _, tt := range []struct {
		waiting int
		longest int // seconds
	}{{0, 1}, {1, 1}, {2000, 1}, {10000, 5}} {
		seen := map[int]int{}
		for range 10_000 {
			pause := StopPause(tt.waiting)
			if pause < time.Second {
				t.Fatalf("%d waiting: %s", tt.waiting, pause)
			}
			seen[WholeSeconds(pause)]++
		}
		for seconds := range seen {
			if seconds < 1 || seconds > tt.longest {
				t.Errorf("%d waiting: a pause of %d s, want at most %d", tt.waiting, seconds, tt.longest)
			}
		}
		if tt.waiting == 10000 && (len(seen) != 5 || seen[3] > 2500) {
			t.Errorf("%d waiting: pauses %v are not spread", tt.waiting, seen)
		}
	}
}
