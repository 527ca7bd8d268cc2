// Package cache keeps what was read from a database for as long as its version is the same.
package cache

import "sync"

// Version changes whenever what is cached changes. Revision never decreases.
type Version struct{ Revision, Generation int64 }

// Cache has the newest value of each key, within a limit of their sizes: when half of it is used, values that weren't used since
// the last time are dropped. The zero Cache is empty. It is safe for concurrent use.
type Cache[Key comparable, Value any] struct {
	mu          sync.Mutex // guards the fields below
	recent, old map[Key]entry[Value]
	size        int // of recent
}

type entry[Value any] struct {
	version Version
	value   Value // shared: nobody may change it
	size    int
}

// half is the size, in bytes, of each half of a cache.
const half = 16 << 20

// Get returns the value of a key, if it has this version. The caller must not change it.
func (c *Cache[Key, Value]) Get(k Key, v Version) (value Value, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.recent[k]
	if !ok {
		if e, ok = c.old[k]; ok && e.version == v {
			c.addLocked(k, e)
		}
	}
	if !ok || e.version != v {
		return value, false
	}
	return e.value, true
}

// Put adds a value of about size bytes. One of an older revision doesn't replace a newer one.
func (c *Cache[Key, Value]) Put(k Key, v Version, value Value, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent[k].version.Revision <= v.Revision && size <= half/4 {
		c.addLocked(k, entry[Value]{v, value, size})
	}
}

func (c *Cache[Key, Value]) addLocked(k Key, e entry[Value]) {
	if c.recent == nil || c.size+e.size > half {
		c.old, c.recent, c.size = c.recent, map[Key]entry[Value]{}, 0
	}
	c.size += e.size - c.recent[k].size
	c.recent[k] = e
}
