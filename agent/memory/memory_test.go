package memory

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

func values3() (api.Snapshot, [][]byte) {
	raw := [][]byte{[]byte("canary-one"), {}, bytes.Repeat([]byte("canary-three"), 1000)}
	s := api.Snapshot{Etag: "e"}
	for i, b := range raw {
		s.Bound = append(s.Bound, api.Bound{Label: api.Label{ID: fmt.Sprint(i)}, Value: api.NewValue(b)})
	}
	return s, raw
}

// collected runs the garbage collector until cond is true.
func collected(t *testing.T, m *Sets, sets int) {
	t.Helper()
	if !poll.Within(20*time.Second, func() bool { return m.Collect() == sets }) {
		t.Fatalf("%d sets live, want %d", m.Collect(), sets)
	}
}

func TestMemoryKeeps(t *testing.T) {
	var m Sets
	s, raw := values3()
	want := [][]byte{bytes.Clone(raw[0]), bytes.Clone(raw[1]), bytes.Clone(raw[2])}
	s.Policy, s.Bound[0].Egress = &api.NetworkPolicy{Mode: "enforce"}, &api.Egress{Placeholder: "p"}
	kept := m.Keep(s)
	if kept.Policy != s.Policy || kept.Bound[0].Egress != s.Bound[0].Egress {
		t.Error("what a broker gets beside the values is lost")
	}
	for i, b := range raw {
		if bytes.Contains(b, []byte("canary")) {
			t.Errorf("value %d was not wiped at its old place", i)
		}
		if got := kept.Bound[i].Value.Reveal(); got != string(want[i]) {
			t.Errorf("value %d differs after the move", i)
		}
	}
	collected(t, &m, 1)
	if got := kept.Bound[0].Value; got.Reveal() != "canary-one" {
		t.Error("a value that is in use was collected")
	}
	lone := kept.Bound[0].Value
	kept = api.Snapshot{}
	collected(t, &m, 1) // one value in use is enough
	if lone.Reveal() != "canary-one" {
		t.Error("a value that is in use was collected")
	}
	lone = api.Value{}
	collected(t, &m, 0)
	_, _ = kept, lone
}

// Pages are zeroed before they are freed, and never while they are in use.
func TestMemoryWipes(t *testing.T) {
	var m Sets
	s, _ := values3()
	kept := m.Keep(s)
	v := kept.Bound[0].Value
	v.Use(func(b []byte) {
		m.Wipe(m.Last())
		if string(b) != "canary-one" {
			t.Error("wiped while it was in use")
		}
		if v.Len() != 0 || kept.Bound[2].Value.Len() != 0 {
			t.Error("usable after it was wiped")
		}
	})
	if v.Reveal() != "" || v.Len() != 0 {
		t.Error("a wiped value isn't empty")
	}
	v.Wipe()
	if n := m.Collect(); n != 0 {
		t.Errorf("%d sets live", n)
	}
	r := New(64)
	copy(r.bytes, "canary")
	if r.kind == heap {
		t.Log("SKIPPED: no memory outside of the heap here")
		return
	}
	r.enter()
	r.free()
	if string(r.bytes[:6]) != "canary" {
		t.Error("freed while it was in use")
	}
	r.leave()
	if r.bytes != nil || r.enter() != nil {
		t.Error("not freed")
	}
}

// Use and Wipe may race.
func TestMemoryRaces(t *testing.T) {
	for range 50 {
		var m Sets
		s, _ := values3()
		kept := m.Keep(s)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 100 {
					if got := kept.Bound[0].Value.Reveal(); got != "canary-one" && got != "" {
						t.Errorf("a torn value of %d bytes", len(got))
					}
					if !kept.Bound[2].Value.Equal(kept.Bound[2].Value) && kept.Bound[2].Value.Len() != 0 {
						t.Error("a value differs from itself")
					}
				}
			})
		}
		all.Go(func() { m.Wipe(m.Last()) })
		all.Wait()
	}
}

// Thousands of sets, one after the other, don't leak memory.
func TestMemoryDoesNotLeak(t *testing.T) {
	var m Sets
	for range 2000 {
		s, _ := values3()
		kept := m.Keep(s)
		if kept.Bound[0].Value.Len() != 10 {
			t.Fatal("a value is missing")
		}
	}
	collected(t, &m, 0)
}

func BenchmarkKeep100(b *testing.B) {
	var m Sets
	s := api.Snapshot{}
	for range 100 {
		s.Bound = append(s.Bound, api.Bound{Value: api.NewValue(bytes.Repeat([]byte("v"), 64))})
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Keep(s)
		m.Wipe(m.Last())
	}
}
