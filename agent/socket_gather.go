package agent

import "github.com/Miosa-osa/miosa-env/api"

// gather sends a set out of the memory its values are in. That is lent for the length of a system call
// only: a client that reads slowly doesn't keep a set that was revoked.
type gather struct {
	head    []byte
	set     []api.Bound
	lengths []int // that were announced

	begun bool // something was sent

	parts [][]byte // of one call
	at    int      // the value that comes next
	skip  int      // of it, bytes sent already
	lent  int      // values in parts
	take  func(b []byte)
	call  func(parts [][]byte) (int, error)
	sent  int // by the call
	err   error
}

func newGather(head []byte, set []api.Bound, lengths []int) *gather {
	g := &gather{head: head, set: set, lengths: lengths}
	g.take = g.taken
	return g
}

// maxParts is how many values go into one system call: each is lent within the one before, and so costs stack.
const maxParts = 32

// once has send called with what is to be sent next, as much of it as goes at once. more tells whether
// there is any left.
func (g *gather) once(send func(parts [][]byte) (int, error)) (more bool, err error) {
	g.parts, g.lent, g.sent, g.err, g.call = g.parts[:0], 0, 0, nil, send
	if len(g.head) > 0 {
		g.parts = append(g.parts, g.head)
	}
	g.lend()
	clear(g.parts)
	g.begun = g.begun || g.sent > 0
	g.advance(g.sent)
	return len(g.head) > 0 || g.at < len(g.set), g.err
}

// lend collects one value after the other, each within the use of the one before, and sends them all
// within the last one's.
func (g *gather) lend() {
	if g.at+g.lent < len(g.set) && g.lent < maxParts {
		g.set[g.at+g.lent].Value.Use(g.take)
	} else if len(g.parts) > 0 {
		g.sent, g.err = g.call(g.parts)
	}
}

func (g *gather) taken(b []byte) {
	if len(b) != g.lengths[g.at+g.lent] {
		g.err = api.ErrWiped
		return
	}
	if g.lent == 0 {
		b = b[g.skip:]
	}
	if len(b) > 0 {
		g.parts = append(g.parts, b)
	}
	g.lent++
	g.lend()
}

// advance notes that n bytes are gone.
func (g *gather) advance(n int) {
	m := min(n, len(g.head))
	g.head, n = g.head[m:], n-m
	for len(g.head) == 0 && g.at < len(g.set) {
		m := min(n, g.lengths[g.at]-g.skip)
		g.skip, n = g.skip+m, n-m
		if g.skip < g.lengths[g.at] {
			return
		}
		g.at, g.skip = g.at+1, 0
	}
}
