package outgoing

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestPauses(t *testing.T) {
	var p Pauses
	now := time.Now()
	if names := p.Paused(now); len(names) != 0 {
		t.Errorf("paused: %v", names)
	}
	for _, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		p.Add("a", now)
		if names := p.Paused(now.Add(want - time.Millisecond)); !slices.Equal(names, []string{"a"}) {
			t.Errorf("paused before %v: %v", want, names)
		}
		now = now.Add(want)
		if names := p.Paused(now); len(names) != 0 {
			t.Errorf("paused after %v: %v", want, names)
		}
	}
	for range 20 {
		p.Add("a", now)
	}
	now = now.Add(longestNamePause)
	if names := p.Paused(now); len(names) != 0 {
		t.Errorf("paused after the longest pause: %v", names)
	}
	if p.Paused(now.Add(longestNamePause + 1)); len(p.names) != 0 {
		t.Errorf("remembers %v", p.names)
	}
	for i := range 2 * maxPauses {
		p.Add(fmt.Sprint(i), now)
	}
	if len(p.names) > maxPauses {
		t.Errorf("%d names", len(p.names))
	}
}
