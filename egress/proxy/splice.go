package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// chunk is how many bytes are copied until the time limit of a connection begins again.
const chunk = 4 << 20

// splice passes the bytes of a connection on, in both directions, if the policy allows its host. If serverFirst is true, the
// client has sent nothing yet, and what it sends first may be neither TLS nor HTTP, whose hosts would have been checked.
func (s *Server) splice(ctx context.Context, t *tunnel, serverFirst bool) {
	if t.upstream == nil {
		if refusal := s.connectUpstream(ctx, t); refusal != nil {
			s.refuse(t, refusal)
			return
		}
	}
	s.Recorder.Record(s.eventOf(t))
	_ = t.SetDeadline(time.Time{})
	client, upstream := plain(t.Conn), plain(t.upstream)
	defer s.longLived.add(s, longLived{
		forbidden: func(set *Set) bool {
			return set.absent() != nil || set.decrypts(t.to) || set.policy.DecideHost(t.to.host).Effect == api.EffectDeny
		},
		end: func() { _ = t.Close() },
	})()
	stop := context.AfterFunc(ctx, func() { _ = t.Close() })
	defer stop()
	defer t.Close() //nolint:errcheck // nothing is left to do

	idle := &idleness{limit: s.Limits.tunnel()}
	idle.active()
	var up sync.WaitGroup
	up.Go(func() {
		if serverFirst {
			err := os.ErrDeadlineExceeded
			for err != nil && !idle.over(err) { // only the server may be sending
				_ = client.SetReadDeadline(idle.check())
				err = t.peek(1)
			}
			speaks := protocolServerFirst
			if err == nil {
				_ = client.SetReadDeadline(time.Now().Add(idle.limit))
				speaks, err = t.protocol()
			}
			if err != nil || speaks != protocolOther {
				_ = t.Close()
				return
			}
		}
		if _, err := upstream.Write(t.ahead); err != nil {
			_ = t.Close()
			return
		}
		t.ahead = nil
		relay(upstream, client, idle)
	})
	relay(client, upstream, idle)
	up.Wait()
}

// connectUpstream connects to the destination of a connection that isn't decrypted.
func (s *Server) connectUpstream(ctx context.Context, t *tunnel) (refusal *Refusal) {
	set := s.Set()
	if why := set.absent(); why != nil {
		return why
	}
	t.policy = set.policy.DecideHost(t.to.host)
	if t.policy.Effect == api.EffectDeny {
		return denied(t.policy, requestsTo(t.to))
	}
	var err error
	if t.upstream, err = s.dial(ctx, set, t.to); err != nil {
		return failure(err, t.to)
	}
	return nil
}

// idleness tracks when a byte of a connection was last read, in either direction.
type idleness struct {
	limit time.Duration
	last  atomic.Int64 // when one was read, in Unix nanoseconds
}

func (i *idleness) active() { i.last.Store(time.Now().UnixNano()) }

// check is the deadline of a read. It comes before the limit, since what one direction has copied is only known when its read ends.
func (i *idleness) check() time.Time { return time.Now().Add(i.limit / 2) }

// over reports whether the error of a read ends the connection: any but a deadline before the limit.
func (i *idleness) over(err error) bool {
	return !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(time.Unix(0, i.last.Load())) >= i.limit
}

// relay copies one direction of a connection until its end, and passes the end on. It closes both connections after an error, or
// if the connection is idle for too long.
func relay(to, from net.Conn, idle *idleness) {
	for {
		_ = from.SetReadDeadline(idle.check())
		n, err := io.CopyN(to, from, chunk) // in the kernel, for TCP on both sides
		if n > 0 {
			idle.active()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if closeWrite(to) == nil {
				return
			}
			fallthrough
		case idle.over(err):
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// plain returns the connection inside a counted one, so that the kernel can copy between two of them.
func plain(c net.Conn) net.Conn {
	switch counted := c.(type) {
	case *conn:
		return counted.Conn
	case *serverConn:
		return counted.Conn
	}
	return c
}
