package pace_test

import (
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/pace"
)

const longest = 50 * time.Second

func next(t *testing.T, w *pace.Wait, what string, pause, least, most time.Duration) time.Duration {
	t.Helper()
	before, wait := w.Next(false)
	if before != pause || wait < least || wait > most || wait != wait.Truncate(time.Second) {
		t.Errorf("%s: a wait of %s after %s, want %s to %s after %s", what, wait, before, least, most, pause)
	}
	return wait
}

func TestWait(t *testing.T) {
	var w pace.Wait
	first := next(t, &w, "first", 0, time.Second, longest)
	w.Unchanged(first)
	w.Unchanged(next(t, &w, "second", 0, longest, longest))
	w.Unchanged(next(t, &w, "third", 0, longest, longest))
	w.Changed()
	w.Unchanged(next(t, &w, "after a change", 0, time.Second, longest))
	w.Unchanged(next(t, &w, "after that", 0, longest, longest))
	w.Failed()
	next(t, &w, "after a failure", 0, 0, 0)
	w.Failed()
	next(t, &w, "after another", 0, 0, 0)
	w.Unchanged(0)
	w.Unchanged(next(t, &w, "after a recovery", 0, time.Second, longest))
	next(t, &w, "after that", 0, longest, longest)
	if pause, wait := w.Next(true); pause != 0 || wait != 0 {
		t.Errorf("at once: a wait of %s after %s", wait, pause)
	}
}

// A vault that ends waits too early is asked less and less often.
func TestEarlyResponses(t *testing.T) {
	var w pace.Wait
	for _, grown := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} { // milliseconds
		grown *= time.Millisecond
		w.Next(false)
		w.Unchanged(0)
		if pause, _ := w.Next(false); pause < grown*9/10 || pause > grown*11/10 {
			t.Errorf("a pause of %s, want about %s", pause, grown)
		}
	}
	w.Changed()
	next(t, &w, "after a change", 0, time.Second, longest)
}

// Clients that were answered together don't come back together: in no second there are many more than a fiftieth.
func TestClientsAreKeptApart(t *testing.T) {
	const clients = 50_000
	seconds := map[time.Duration]int{}
	for range clients {
		var w pace.Wait
		w.Changed()
		_, wait := w.Next(false)
		seconds[wait]++
	}
	for second, n := range seconds {
		if n > clients/50*5/4 {
			t.Errorf("%d of %d clients come back after %s", n, clients, second)
		}
	}
	if len(seconds) != 50 {
		t.Errorf("they come back in %d different seconds, want 50", len(seconds))
	}
}

func TestAsked(t *testing.T) {
	for _, tt := range [][2]time.Duration{{0, 0}, {-time.Hour, 0}, {time.Second, time.Second}, {time.Hour, time.Hour}, {24 * time.Hour, time.Hour}} {
		if got := pace.Asked(tt[0]); got != tt[1] {
			t.Errorf("asked for %s: %s, want %s", tt[0], got, tt[1])
		}
	}
}
