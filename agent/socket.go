package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/rs/zerolog"
)

// Served is what a Socket hands out. Agent is one.
type Served interface {
	// Snapshot gives the set and its status. The same set is given until another one takes its place.
	Snapshot() (api.Snapshot, Status)
	// Wait returns once there is a set that etag doesn't name, or the vault refuses.
	Wait(ctx context.Context, etag string) (api.Snapshot, error)
	// Bindings lists what is bound, without values.
	Bindings(ctx context.Context) ([]api.Binding, error)
	// Refresh asks the vault now.
	Refresh(ctx context.Context) error
}

// SocketConfig says who gets what where.
type SocketConfig struct {
	Path  string // see SocketPath; its folder is made, but not the one above
	Agent Served
	Allow Peers // besides root and this process's own user
	Log   zerolog.Logger
}

const (
	requestTime = 5 * time.Second // to send a request, and again to take the answer
	stopTime    = time.Second     // to take an answer, once the agent is stopping
	acceptPause = 100 * time.Millisecond
)

// Socket answers clients on a unix socket. The kernel identifies them.
type Socket struct {
	conf     SocketConfig
	listener *listener
	allow    atomic.Pointer[Peers]

	active   limiter // connections that are served, except those that wait
	waiting  limiter
	denials  denials
	fresh    refresher
	metrics  metrics
	encoded  atomic.Pointer[encoding] // of the set that was sent last
	stopping atomic.Bool
	tasks    sync.WaitGroup // of Serve
}

// Listen listens on the path, and replaces the socket of an agent that has ended.
// Errors: if another agent listens there, or if another user could change the directory.
func Listen(c SocketConfig) (*Socket, error) {
	if c.Agent == nil {
		return nil, errors.New("a socket needs an agent")
	}
	l, err := newListener(c.Path, false)
	if err != nil {
		return nil, err
	}
	s := &Socket{
		conf: c, listener: l,
		active:  limiter{all: maxActive, others: maxActiveOthers, each: maxActiveEach},
		waiting: limiter{all: maxWaiting, others: maxWaitingOthers, each: maxWaitingEach},
		fresh:   refresher{ask: c.Agent.Refresh},
	}
	s.SetAllowed(c.Allow)
	return s, nil
}

// SetAllowed changes which users may connect, from the next connection on.
func (s *Socket) SetAllowed(p Peers) { s.allow.Store(&p) }

// Path is where it listens.
func (s *Socket) Path() string { return s.listener.path }

// Close stops listening, if Serve wasn't called. After Serve it does nothing.
func (s *Socket) Close() { s.listener.close() }

// Serve answers until ctx ends. It then stops listening, answers the requests that wait, and returns when everything it
// started has ended.
func (s *Socket) Serve(ctx context.Context) error {
	defer s.listener.close()
	stop := context.AfterFunc(ctx, func() {
		s.stopping.Store(true)
		s.listener.close()
	})
	defer stop()
	defer s.tasks.Wait()
	own := uint32(os.Geteuid())
	for {
		c, err := s.listener.accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // no file descriptor left, say
			s.conf.Log.Error().Err(err).Msg("the socket takes no connections")
			if delay.Sleep(ctx, acceptPause) != nil {
				return nil
			}
			continue
		}
		s.receive(ctx, c, own)
	}
}

// receive serves a connection, or refuses it at little cost.
func (s *Socket) receive(ctx context.Context, c *net.UnixConn, own uint32) {
	k := &connection{Socket: s, conn: c}
	err := k.identify(own)
	switch {
	case err == nil && !k.admitted:
		s.denials.log(s.conf.Log, k.peer, "this user may not ask")
		err = api.NewError(api.ErrDenied, fmt.Sprintf("uid %d may not ask this agent", k.peer.uid))
		s.metrics.count(countOther, resultDenied)
	case err == nil && !s.active.acquire(k.peer.uid, k.trusted):
		s.denials.log(s.conf.Log, k.peer, "too many at once")
		err = &api.Error{Kind: api.ErrRateLimited, Message: "the agent has too many connections", RetryAfter: acceptPause}
		s.metrics.count(countOther, resultBusy)
	case err == nil:
		k.holds = &s.active
		s.tasks.Go(func() { k.serve(ctx) })
		return
	default:
		s.conf.Log.Error().Err(err).Msg("the kernel doesn't identify the client")
		err = api.NewError(api.ErrInternal, "the agent can't tell who asks")
		s.metrics.count(countOther, resultFailed)
	}
	_ = c.SetWriteDeadline(time.Now().Add(acceptPause)) // not needed: a new connection has room
	_, _ = c.Write(refusal(err))
	_ = c.Close()
}
