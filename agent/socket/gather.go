package socket

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// maxParts is the number of values in one system call. The use of each nests in that of the one before, which takes stack.
const maxParts = 32

// gather sends a set from the memory that holds its values. That memory is in use during system calls only, so that a
// client that reads slowly doesn't keep the values of a revoked set.
type gather struct {
	head    []byte
	set     []api.Bound
	lengths []int // of the values, as announced
	begun   bool  // some bytes were sent

	next int // the value that is sent next
	skip int // bytes of it that were sent

	// Of the current system call.
	parts [][]byte
	used  int // values in parts
	add   func(value []byte)
	write func(parts [][]byte) (int, error)
	sent  int
	err   error
}

func newGather(head []byte, set []api.Bound, lengths []int) *gather {
	g := &gather{head: head, set: set, lengths: lengths}
	g.add = g.addValue // once, since each conversion allocates
	return g
}

// send sends everything before the write deadline of c. System calls don't block, so that no value is in use meanwhile.
func (g *gather) send(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) (done bool) {
		write := func(parts [][]byte) (int, error) {
			return unix.SendmsgBuffers(int(fd), parts, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		}
		for more := true; more; {
			more, sendErr = g.step(write)
			if errors.Is(sendErr, unix.EAGAIN) {
				return false
			}
			if sendErr != nil && !errors.Is(sendErr, unix.EINTR) {
				return true
			}
		}
		return true
	})
	if sendErr != nil && !errors.Is(sendErr, unix.EAGAIN) {
		return sendErr
	}
	return err
}

// step passes as much as one system call takes to write, and reports whether there is more.
func (g *gather) step(write func(parts [][]byte) (int, error)) (more bool, err error) {
	g.parts, g.used, g.sent, g.err, g.write = g.parts[:0], 0, 0, nil, write
	if len(g.head) > 0 {
		g.parts = append(g.parts, g.head)
	}
	g.collect()
	clear(g.parts)
	g.begun = g.begun || g.sent > 0
	g.advance(g.sent)
	return len(g.head) > 0 || g.next < len(g.set), g.err
}

// collect adds the next value to parts, or writes them if there are enough. It is called within the use of the value
// before.
func (g *gather) collect() {
	if g.next+g.used < len(g.set) && g.used < maxParts {
		g.set[g.next+g.used].Value.Use(g.add)
	} else if len(g.parts) > 0 {
		g.sent, g.err = g.write(g.parts)
	}
}

func (g *gather) addValue(value []byte) {
	if len(value) != g.lengths[g.next+g.used] {
		g.err = api.ErrWiped
		return
	}
	if g.used == 0 {
		value = value[g.skip:]
	}
	if len(value) > 0 {
		g.parts = append(g.parts, value)
	}
	g.used++
	g.collect()
}

// advance notes that n bytes were sent.
func (g *gather) advance(n int) {
	m := min(n, len(g.head))
	g.head, n = g.head[m:], n-m
	for len(g.head) == 0 && g.next < len(g.set) {
		m := min(n, g.lengths[g.next]-g.skip)
		g.skip, n = g.skip+m, n-m
		if g.skip < g.lengths[g.next] {
			return
		}
		g.next, g.skip = g.next+1, 0
	}
}
