package store

import (
	"testing"
	"time"
)

func TestRefreshAt(t *testing.T) {
	now := time.Now()
	for _, life := range []time.Duration{-time.Hour, 0, time.Second, time.Minute, 8 * time.Hour, 10 * 365 * 24 * time.Hour} {
		counts := max(life, shortestLife)
		seen := map[time.Duration]bool{}
		for range 200 {
			after := refreshAt(now, now.Add(life)).Sub(now)
			if after < counts/100*70 || after > counts/100*85+time.Second/100 {
				t.Fatalf("life %s: refreshed after %s", life, after)
			}
			seen[after] = true
		}
		if len(seen) < 100 {
			t.Errorf("life %s: %d moments in 200", life, len(seen))
		}
	}
}
