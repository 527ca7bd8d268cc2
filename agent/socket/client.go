package socket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

var (
	// ErrNoAgent means that no agent is listening, so the vault is to be asked instead.
	ErrNoAgent = errors.New("no agent is running here")
	// ErrUntrusted means that the listening process belongs to another user than root or this one. It was sent nothing.
	ErrUntrusted = errors.New("the agent's socket belongs to another user")
	// ErrNotSocket means that no agent can listen on a path: it is a regular file, or leads through one.
	ErrNotSocket = errors.New("isn't the path of a socket")
)

const (
	connectTimeout = time.Second      // for the agent to accept a connection
	replyTimeout   = 5 * time.Second  // for a reply that doesn't wait for anything
	refreshedAfter = 35 * time.Second // for the agent to ask the vault and reply
	busyTimeout    = 6 * time.Second  // for retries while the agent has too many connections, each of which ends within 5 s
	firstWait      = time.Second      // for the first set of an agent that is starting
	changeWait     = 50 * time.Second // for a change
)

// Client sends requests to the agent on this machine. Its methods may be called by any goroutine. It must be closed.
type Client struct {
	path   string
	dialed time.Time

	mu    sync.Mutex // guards spare
	spare *conn      // opened by Dial; nil once used
}

// Dial connects to the first of the sockets that has a listener.
// Errors: ErrNoAgent if none has; ErrNotSocket if none has and one of them can't; ErrUntrusted; api.ErrDenied if this user
// may not open the socket; api.ErrUnavailable if the agent doesn't accept the connection within a second.
func Dial(paths ...string) (*Client, error) {
	none := ErrNoAgent
	for _, path := range paths {
		c, err := connect(path)
		switch {
		case err == nil:
			return &Client{path: path, spare: c, dialed: time.Now()}, nil
		case errors.Is(err, ErrNotSocket):
			none = err
		case !errors.Is(err, ErrNoAgent):
			return nil, err
		}
	}
	return nil, none
}

// connect connects to an agent of root or of this user.
func connect(path string) (*conn, error) {
	c, err := newConn(path, connectTimeout)
	if err != nil {
		return nil, err
	}
	p, err := peer.OfFD(c.fd)
	if err == nil && !p.Trusted() {
		err = fmt.Errorf("%w: %s is uid %d's", ErrUntrusted, path, p.UID)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// Path returns the path of the socket.
func (c *Client) Path() string { return c.path }

// Close closes the connection that Dial opened, if it wasn't used. Pending calls continue.
func (c *Client) Close() {
	if spare := c.takeSpare(); spare != nil {
		spare.close()
	}
}

func (c *Client) takeSpare() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	spare := c.spare
	c.spare = nil
	return spare
}

// Status returns the agent's status. Errors: ErrNoAgent, ErrUntrusted; api.ErrDenied if this user may not ask.
func (c *Client) Status(ctx context.Context) (agent.Status, error) {
	return c.status(ctx, opStatus, replyTimeout)
}

// Refresh has the agent ask the vault now, and returns its status after that.
// Errors: those of Status; api.ErrUnauthorized if the vault refused; api.ErrUnavailable if it didn't answer.
func (c *Client) Refresh(ctx context.Context) (agent.Status, error) {
	return c.status(ctx, opRefresh, refreshedAfter)
}

func (c *Client) status(ctx context.Context, op op, timeout time.Duration) (agent.Status, error) {
	r, err := c.do(ctx, request{Op: op}, timeout)
	switch {
	case err != nil:
		return agent.Status{}, err
	case r.body.Status == nil:
		return agent.Status{}, errGarbled
	}
	r.body.Status.Socket = c.path
	return *r.body.Status, nil
}

// do sends a request, again while the agent has too many connections, and returns the reply. A refusal is an error.
func (c *Client) do(ctx context.Context, q request, timeout time.Duration) (reply, error) {
	began := time.Now()
	for {
		r, err := c.send(ctx, q, timeout)
		if err == nil && r.line != nil {
			err = r.parseBody()
		}
		if other, ok := errors.AsType[*OtherVault](err); ok {
			other.Socket, other.Named = c.path, q.Vault
		}
		if !errors.Is(err, api.ErrRateLimited) || q.WaitSeconds > int(firstWait/time.Second) || time.Since(began) > busyTimeout {
			return r, err
		}
		if err := delay.Sleep(ctx, 5*time.Millisecond+delay.Random(45*time.Millisecond)); err != nil { // many clients spread out
			return reply{}, err
		}
	}
}

// send sends a request over the connection that Dial opened or a new one.
func (c *Client) send(ctx context.Context, q request, timeout time.Duration) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	spare := c.takeSpare()
	switch {
	case spare == nil:
	case time.Since(c.dialed) > requestTimeout/2: // the agent may close it at any moment
		spare.close()
	default:
		r, err := spare.exchange(ctx, q, timeout)
		if !errors.Is(err, api.ErrUnavailable) || spare.timedOut || ctx.Err() != nil {
			return r, err
		}
	}
	conn, err := connect(c.path)
	if err != nil {
		return reply{}, err
	}
	return conn.exchange(ctx, q, timeout)
}
