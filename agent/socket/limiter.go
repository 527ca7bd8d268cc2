package socket

import (
	"sync"

	"github.com/Miosa-osa/miosa-env/agent/peer"
)

// The most connections that are served at a time, and that wait for a change. Some are reserved for trusted clients, and
// no other user can take all that the rest share.
const (
	maxActive       = 128
	maxActiveOthers = 64
	maxActiveEach   = 16

	maxWaiting       = 64
	maxWaitingOthers = 32
	maxWaitingEach   = 16
)

// limiter limits the number of connections.
type limiter struct {
	all, others, each int // the most in all, of clients that aren't trusted, and of each uid of those

	mu          sync.Mutex // guards the fields below
	countAll    int
	countOthers int
	countEach   map[uint32]int // by uid; above 0
}

// acquire counts a connection, unless a limit is reached.
func (l *limiter) acquire(p peer.Peer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.countAll >= l.all || !p.Trusted() && (l.countOthers >= l.others || l.countEach[p.UID] >= l.each) {
		return false
	}
	l.add(p, 1)
	return true
}

func (l *limiter) release(p peer.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(p, -1)
}

// add adds n to the counts. The caller holds mu.
func (l *limiter) add(p peer.Peer, n int) {
	l.countAll += n
	if p.Trusted() {
		return
	}
	l.countOthers += n
	if l.countEach == nil {
		l.countEach = map[uint32]int{}
	}
	if l.countEach[p.UID] += n; l.countEach[p.UID] == 0 {
		delete(l.countEach, p.UID)
	}
}

func (l *limiter) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.countAll
}
