package vault

import (
	"sync"
	"time"
)

// maxKnown bounds how many keys are remembered.
const maxKnown = 4096

// known remembers who stands behind the keys that were good, by their hash, so that a request needn't
// read that from the database. Nothing relies on it alone: every transaction looks anew whether its
// actor's key still stands. All is forgotten when any key is revoked.
type known struct {
	mu     sync.Mutex // guards the fields below
	actors map[string]Actor
	eras   int // rises whenever all is forgotten
}

// get returns whose key it is, unless the key has expired.
func (k *known) get(hash string) (Actor, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.actors[hash]
	if ok && a.ExpiresAt != nil && !a.ExpiresAt.After(time.Now()) {
		return Actor{}, false
	}
	return a, ok
}

func (k *known) era() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.eras
}

// put remembers what was read in an era; nothing that was read before a revocation outlives it.
func (k *known) put(hash string, a Actor, era int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if era != k.eras {
		return
	}
	if k.actors == nil || len(k.actors) >= maxKnown {
		k.actors = map[string]Actor{}
	}
	k.actors[hash] = a
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.actors = nil
	k.eras++
}
