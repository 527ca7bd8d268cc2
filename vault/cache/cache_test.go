package cache

import "testing"

func TestCache(t *testing.T) {
	var c Cache[string, int]
	want := func(k string, v Version, value int, ok bool) {
		t.Helper()
		if got, found := c.Get(k, v); got != value || found != ok {
			t.Errorf("%s of %+v: %d, %t; want %d, %t", k, v, got, found, value, ok)
		}
	}
	want("a", Version{}, 0, false)
	c.Put("a", Version{2, 1}, 1, 10)
	want("a", Version{2, 1}, 1, true)
	want("a", Version{3, 1}, 0, false)
	want("a", Version{2, 2}, 0, false)
	want("b", Version{2, 1}, 0, false)
	c.Put("a", Version{1, 1}, 9, 10) // of an older snapshot
	want("a", Version{2, 1}, 1, true)
	c.Put("a", Version{2, 2}, 2, 10)
	want("a", Version{2, 2}, 2, true)

	c.Put("large", Version{1, 1}, 3, half/4+1)
	want("large", Version{1, 1}, 0, false)
	for i := range 5 { // more than one half
		c.Put(string(rune('p'+i)), Version{1, 1}, i, half/4)
	}
	want("a", Version{2, 2}, 2, true) // and is used again
	for i := range 4 {
		c.Put(string(rune('t'+i)), Version{1, 1}, i, half/4)
	}
	want("a", Version{2, 2}, 2, true)
	for range 3 {
		for i := range 5 {
			c.Put(string(rune('A'+i)), Version{1, 1}, i, half/4)
		}
	}
	want("a", Version{2, 2}, 0, false)
	if len(c.recent)+len(c.old) > 8 {
		t.Errorf("%d and %d values", len(c.recent), len(c.old))
	}
}
