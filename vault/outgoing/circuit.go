package outgoing

import (
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	tripAfter    = 5                // requests in a row without an answer, after which a circuit opens
	firstPause   = 10 * time.Second // for which it is open; each further pause is twice as long
	longestPause = 5 * time.Minute
	probeTime    = 30 * time.Second // longer than a request takes
)

// maxCircuits is how many hosts of one owner are tracked. With more, all circuits of this owner close, which harms nobody else.
const maxCircuits = 256

// Circuits are circuit breakers, one per owner and host: they stop requests to hosts that don't answer. The owner is the tenant that
// has named the host, so that no tenant can keep another one from a host; "" is the operator. The zero Circuits is ready to use, and
// safe for concurrent use.
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
	state := c.owners[owner][host]
	if state == nil || state.until.IsZero() {
		return 0, "", false
	}
	if wait = time.Until(state.until); wait > 0 {
		return wait, state.code, true
	}
	state.until = time.Now().Add(probeTime) // other requests wait for the result of this one
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
	hosts := c.owners[owner]
	if hosts == nil || len(hosts) >= maxCircuits && hosts[host] == nil {
		hosts = map[string]*circuit{}
		c.owners[owner] = hosts
	}
	state := hosts[host]
	if state == nil {
		state = &circuit{}
		hosts[host] = state
	}
	state.failures++
	state.code = code
	if state.failures < tripAfter {
		return false
	}
	opened = state.until.IsZero()
	state.pause = min(max(2*state.pause, firstPause), longestPause)
	state.until = time.Now().Add(state.pause - delay.Random(state.pause/4))
	return opened
}
