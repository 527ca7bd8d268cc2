package store

import (
	"sync"
	"time"
)

// maxAuthenticated is the number of keys that are cached.
const maxAuthenticated = 4096

// authCache caches the actors of valid keys by the keys' hashes, so that a request need not read them from the database.
// Nothing relies on it alone: every transaction checks its actor's key. A revocation clears it.
type authCache struct {
	mu      sync.Mutex // guards the fields below
	actors  map[string]Actor
	cleared int // how often
}

// get returns the actor of a key, unless the key has expired, and how often the cache was cleared, for put.
func (c *authCache) get(hash string) (a Actor, ok bool, clears int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok = c.actors[hash]
	if ok && a.ExpiresAt != nil && !a.ExpiresAt.After(time.Now()) {
		ok = false
	}
	return a, ok, c.cleared
}

// put caches an actor that was read after get. If the cache was cleared since, the key may have been revoked, and put
// does nothing.
func (c *authCache) put(hash string, a Actor, clears int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if clears != c.cleared {
		return
	}
	if c.actors == nil || len(c.actors) >= maxAuthenticated {
		c.actors = map[string]Actor{}
	}
	c.actors[hash] = a
}

func (c *authCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.actors = nil
	c.cleared++
}
