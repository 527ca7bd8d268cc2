package lastuse

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUses(t *testing.T) {
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	var u Uses
	want := func(now int, all bool, want map[string]time.Time) {
		t.Helper()
		got := u.due(at(now), all)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("at %d (-got +want)\n%s", now, diff)
		}
		u.written(slices.Collect(maps.Keys(got)), got)
	}
	want(0, false, map[string]time.Time{})
	u.Add("a", at(1))
	u.Add("a", at(2))
	want(3, false, map[string]time.Time{"a": at(2)}) // the first use is written at once
	u.Add("a", at(4))
	u.Add("b", at(5))
	want(6, false, map[string]time.Time{"b": at(5)}) // a was written less than a minute ago
	want(61, false, map[string]time.Time{})
	want(62, false, map[string]time.Time{"a": at(4)})
	u.Add("a", at(63))
	want(64, true, map[string]time.Time{"a": at(63)})
	want(200, true, map[string]time.Time{})
	if len(u.keys) != 0 {
		t.Errorf("%d keys are kept that weren't used", len(u.keys))
	}
}
