// Package socket is the server and the client of the agent's Unix socket: commands on the same machine get the agent's
// set and status there. request.go describes the protocol.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
)

// DefaultPath is the path of root's agent.
const DefaultPath = "/run/miosa-env/agent.sock"

// Path returns the path of a user's agent: DefaultPath for root, else one below runtimeDir, the value of XDG_RUNTIME_DIR.
func Path(uid int, runtimeDir string) (string, error) {
	if uid == 0 {
		return DefaultPath, nil
	}
	if !strings.HasPrefix(runtimeDir, "/") {
		return "", errors.New("XDG_RUNTIME_DIR isn't set to a directory, so there is no place for the agent's socket")
	}
	return strings.TrimRight(runtimeDir, "/") + "/miosa-env/agent.sock", nil
}

// Paths returns the paths at which a user's commands look for an agent, in this order: the user's own, then root's.
func Paths(uid int, runtimeDir string) []string {
	if own, err := Path(uid, runtimeDir); err == nil && own != DefaultPath {
		return []string{own, DefaultPath}
	}
	return []string{DefaultPath}
}

// Engine is what a Server needs of an agent.Engine.
type Engine interface {
	// Snapshot returns the set and its status: the same set until another one replaces it.
	Snapshot() (api.Snapshot, agent.Status)
	// Wait returns when there is a set that etag doesn't name, or the vault refuses.
	Wait(ctx context.Context, etag string) (api.Snapshot, error)
	// Bindings lists the bindings, without values.
	Bindings(ctx context.Context) ([]api.Binding, error)
	// Refresh asks the vault now.
	Refresh(ctx context.Context) error
}

// Config configures a Server.
type Config struct {
	Path   string // see Path; its directory is created, but not the parents of that
	Engine Engine // required
	Allow  peer.List
	Log    zerolog.Logger
}

const (
	requestTimeout = 5 * time.Second        // for a client to send its request, and again to read the reply
	stopTimeout    = time.Second            // to read the reply of a server that is stopping
	refuseTimeout  = 100 * time.Millisecond // to read the reply to a connection that is refused
)

// Server answers clients on a Unix socket. The kernel identifies them.
type Server struct {
	*listener.Listener
	conf  Config
	allow atomic.Pointer[peer.List]

	active    limiter // connections, except those that wait
	waiting   limiter
	denials   denials
	refresher refresher
	counters  counters
	encoded   atomic.Pointer[encoding] // of the set that was sent last
	tasks     sync.WaitGroup           // of Serve
}

// Listen listens on the path of c. Errors: those of listener.Listen.
func Listen(c Config) (*Server, error) {
	if c.Engine == nil {
		return nil, errors.New("a socket needs an engine")
	}
	mode := fs.FileMode(0o600)
	if os.Geteuid() == 0 {
		mode = 0o666 // connections of other users are admitted by their peer
	}
	l, err := listener.Listen(c.Path, mode)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Listener: l, conf: c,
		active:    limiter{all: maxActive, others: maxActiveOthers, each: maxActiveEach},
		waiting:   limiter{all: maxWaiting, others: maxWaitingOthers, each: maxWaitingEach},
		refresher: refresher{refresh: c.Engine.Refresh},
	}
	s.SetAllowed(c.Allow)
	if peer.Unidentified(os.Geteuid()) {
		c.Log.Warn().Int("uid", os.Geteuid()).Msg("socket serves only root")
	}
	return s, nil
}

// SetAllowed changes who may connect, besides root and the user of this process. It applies to new connections.
func (s *Server) SetAllowed(l peer.List) { s.allow.Store(&l) }

// Serve answers clients until ctx ends. Then it stops listening, answers the requests that wait, and returns when
// everything it started has ended.
func (s *Server) Serve(ctx context.Context) {
	defer s.tasks.Wait()
	listener.Serve(ctx, s, s.conf.Log, func(conn net.Conn) { s.accept(ctx, conn.(*net.UnixConn)) })
}

// accept serves a connection in its own goroutine, or refuses it at little cost.
func (s *Server) accept(ctx context.Context, conn *net.UnixConn) {
	c := &connection{Server: s, ctx: ctx, conn: conn, op: opOther}
	err := c.admit()
	if err == nil {
		s.tasks.Go(c.serve)
		return
	}
	s.counters.count(opOther, resultOf(err))
	_ = conn.SetWriteDeadline(time.Now().Add(refuseTimeout)) // a new connection has room for it
	_, _ = conn.Write(refusal(err))
	_ = conn.Close()
}

// admit identifies the client and counts its connection. Errors are for the client.
func (c *connection) admit() (err error) {
	if c.peer, err = peer.Of(c.conn); err != nil {
		c.conf.Log.Error().Err(err).Msg("cannot identify client")
		return api.NewError(api.ErrInternal, "the agent can't tell who asks")
	}
	if !c.peer.Trusted() && !c.allow.Load().Contains(c.peer, c.conn) {
		c.denials.log(c.conf.Log, c.peer, "this user may not ask")
		return api.NewError(api.ErrDenied, fmt.Sprintf("uid %d may not ask this agent", c.peer.UID))
	}
	if !c.active.acquire(c.peer) {
		c.denials.log(c.conf.Log, c.peer, "too many at once")
		return &api.Error{Kind: api.ErrRateLimited, Message: "the agent has too many connections", RetryAfter: refuseTimeout}
	}
	c.counted = &c.active
	return nil
}
