package outgoing

import (
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// A circuit opens after so many requests in a row without an answer, for a pause that doubles.
const (
	tripAfter    = 5
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
	probeTime    = 30 * time.Second // longer than a request takes
)

// maxCircuits is how many hosts of one owner are tracked. An owner that has more starts anew: it harms only itself.
const maxCircuits = 256

// Circuits keep requests from hosts that don't answer, one circuit per owner and host. The owner is the tenant that has
// named the host, so that no tenant can close another one's way to a host; "" is the operator. The zero Circuits is ready
// to use, and safe for concurrent use.
type Circuits struct {
	mu     sync.Mutex                     // guards owners
	owners map[string]map[string]*circuit // by owner and host; a host that answers has none
}

type circuit struct {
	failures int
	pause    time.Duration
	until    time.Time // no request before; zero: not open yet
	code     string    // of the last failure
}

// Open reports whether the circuit of a host is open: then no request is to be sent for wait, and code is the error
// code of the last one. After each pause, one request is let through.
func (c *Circuits) Open(owner, host string) (wait time.Duration, code string, open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.owners[owner][host]
	if it == nil || it.until.IsZero() {
		return 0, "", false
	}
	if wait = time.Until(it.until); wait > 0 {
		return wait, it.code, true
	}
	it.until = time.Now().Add(probeTime) // others wait for this one
	return 0, "", false
}

// Answered closes the circuit of a host.
func (c *Circuits) Answered(owner, host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.owners[owner], host); len(c.owners[owner]) == 0 {
		delete(c.owners, owner)
	}
}

// Failed counts a request without an answer. It reports whether that has opened the circuit.
func (c *Circuits) Failed(owner, host, code string) (opened bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owners == nil {
		c.owners = map[string]map[string]*circuit{}
	}
	of := c.owners[owner]
	if of == nil || len(of) >= maxCircuits && of[host] == nil {
		of = map[string]*circuit{}
		c.owners[owner] = of
	}
	it := of[host]
	if it == nil {
		it = &circuit{}
		of[host] = it
	}
	it.failures++
	it.code = code
	if it.failures < tripAfter {
		return false
	}
	opened = it.until.IsZero()
	it.pause = min(max(2*it.pause, firstPause), longestPause)
	it.until = time.Now().Add(it.pause - delay.Random(it.pause/4))
	return opened
}
