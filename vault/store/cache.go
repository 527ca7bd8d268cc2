package store

import "sync"

// setCache has the sets of resources as they are stored: verified, and still encrypted. A set is read from the database once
// for each revision of its tenant. It is safe for concurrent use.
type setCache struct {
	mu          sync.Mutex // guards the fields below
	recent, old map[topic]cachedSet
	size        int // of recent, in bytes
}

// setVersion changes whenever a set of the tenant, or the keyset that it is encrypted with, changes.
type setVersion struct{ revision, generation int64 }

type cachedSet struct {
	version setVersion
	rows    []boundRow // shared: nobody may change them
}

// maxCachedSets is the size of each half of the cache, in bytes.
const maxCachedSets = 16 << 20

func (c *setCache) get(t topic, v setVersion) ([]boundRow, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set, ok := c.recent[t]
	if !ok {
		if set, ok = c.old[t]; ok && set.version == v {
			c.addLocked(t, set)
		}
	}
	return set.rows, ok && set.version == v
}

// put adds a set. One of an older snapshot of the database doesn't replace a newer one.
func (c *setCache) put(t topic, set cachedSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent[t].version.revision <= set.version.revision {
		c.addLocked(t, set)
	}
}

func (c *setCache) addLocked(t topic, set cachedSet) {
	size := sizeOf(set.rows)
	if size > maxCachedSets/4 {
		return
	}
	if c.recent == nil || c.size+size > maxCachedSets {
		c.old, c.recent, c.size = c.recent, map[topic]cachedSet{}, 0
	}
	c.size += size - sizeOf(c.recent[t].rows)
	c.recent[t] = set
}

// sizeOf is about the number of bytes that rows take.
func sizeOf(rows []boundRow) int {
	const labels = 512
	size := labels
	for _, r := range rows {
		size += labels + len(r.sealed)
	}
	return size
}
