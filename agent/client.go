package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

var (
	// ErrNoAgent says that no agent listens here, so the vault is to be asked instead.
	ErrNoAgent = errors.New("no agent is running here")
	// ErrUntrusted says that the process that listens is neither root's nor this user's, so nothing was asked: it could
	// give out values of its own.
	ErrUntrusted = errors.New("the agent's socket belongs to another user")
	// ErrNotSocket says that no agent could ever listen on a path: it is a regular file, or leads through one.
	ErrNotSocket = errors.New("isn't the path of a socket")
)

const (
	connectTimeout = time.Second      // for the agent to accept a connection
	answerTimeout  = 5 * time.Second  // for an answer that the agent doesn't hold back
	refreshTimeout = 35 * time.Second // for the vault's answer to the agent
	busyTimeout    = 6 * time.Second  // of asking again while the agent has too many connections: one ends within 5 s
	firstWait      = time.Second      // for the first set of an agent that is starting
	changeWait     = 50 * time.Second
)

// SocketPath is where the agent of a user listens: /run/miosa-env/agent.sock for root, else below
// runtimeDir, which is what XDG_RUNTIME_DIR holds.
func SocketPath(uid int, runtimeDir string) (string, error) {
	if uid == 0 {
		return DefaultSocket, nil
	}
	if !strings.HasPrefix(runtimeDir, "/") {
		return "", errors.New("XDG_RUNTIME_DIR isn't set to a folder, so there is no place for the agent's socket")
	}
	return strings.TrimRight(runtimeDir, "/") + "/miosa-env/agent.sock", nil
}

// DefaultSocket is where root's agent listens.
const DefaultSocket = "/run/miosa-env/agent.sock"

// SocketPaths are the paths where an agent may listen, in the order to try them: a user's own, then root's.
func SocketPaths(uid int, runtimeDir string) []string {
	if own, err := SocketPath(uid, runtimeDir); err == nil && own != DefaultSocket {
		return []string{own, DefaultSocket}
	}
	return []string{DefaultSocket}
}

// Client asks the agent on this machine. Its methods are for any goroutine. Close it.
type Client struct {
	path string

	dialed time.Time

	mu    sync.Mutex // guards spare
	spare *wire      // connected by Dial; nil once used
}

// Dial connects to the first of these sockets that somebody listens on.
// Errors: ErrNoAgent if nobody does, at once, or ErrNotSocket if nobody can on one of them; ErrUntrusted;
// api.ErrDenied if this user can't open the socket; api.ErrUnavailable if nobody takes the connection within a second.
func Dial(paths ...string) (*Client, error) {
	none := ErrNoAgent
	for _, path := range paths {
		w, err := connect(path)
		switch {
		case err == nil:
			return &Client{path: path, spare: w, dialed: time.Now()}, nil
		case errors.Is(err, ErrNotSocket):
			none = err
		case !errors.Is(err, ErrNoAgent):
			return nil, err
		}
	}
	return nil, none
}

// connect makes a connection to an agent of root's or of this user's.
func connect(path string) (*wire, error) {
	w, err := newWire(path, connectTimeout)
	if err != nil {
		return nil, err
	}
	p, err := peerOf(w.fd)
	if err == nil && !p.trusted(uint32(os.Geteuid())) {
		err = fmt.Errorf("%w: %s is uid %d's", ErrUntrusted, path, p.uid)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// Path is the socket.
func (c *Client) Path() string { return c.path }

// Close closes what Dial opened, if nothing has been asked. Calls under way go on.
func (c *Client) Close() {
	if w := c.takeSpare(); w != nil {
		w.close()
	}
}

func (c *Client) takeSpare() *wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.spare
	c.spare = nil
	return w
}

// Status asks how the agent is doing.
// Errors: ErrNoAgent, ErrUntrusted, api.ErrDenied if this user may not ask.
func (c *Client) Status(ctx context.Context) (Status, error) {
	r, err := c.ask(ctx, request{Op: opStatus}, answerTimeout)
	if err != nil {
		return Status{}, err
	}
	return c.parseStatus(r)
}

func (c *Client) parseStatus(r reply) (Status, error) {
	body, err := r.parseJSON()
	if err == nil && body.Status == nil {
		err = errGarbled
	}
	if err != nil {
		return Status{}, err
	}
	body.Status.Socket = c.path
	return *body.Status, nil
}

// Refresh has the agent ask the vault now, and tells how it is doing after.
// Errors: those of Status; api.ErrUnauthorized if the vault refused; api.ErrUnavailable if it didn't
// answer.
func (c *Client) Refresh(ctx context.Context) (Status, error) {
	r, err := c.ask(ctx, request{Op: opRefresh}, refreshTimeout)
	if err != nil {
		return Status{}, err
	}
	return c.parseStatus(r)
}

// Source gives the agent's sets of r. It is a Source.
func (c *Client) Source(r api.Resource) *LocalSource { return &LocalSource{client: c, resource: r} }

// LocalSource gives the sets that the agent on this machine serves. Next is for one goroutine, the others
// for any.
type LocalSource struct {
	client   *Client
	resource api.Resource
	vault    string // empty: any
	troubled bool   // the last Next ended with an error

	last atomic.Pointer[heard]
}

// Of has the source give sets of this vault only, by its base URL in normal form. Empty means any. It is for
// before the first Next.
func (s *LocalSource) Of(vault string) *LocalSource {
	s.vault = vault
	return s
}

// Ask is Next with etag "".
func (s *LocalSource) Ask(ctx context.Context) (api.Snapshot, error) { return s.Next(ctx, "") }

// Vault is what Of was given.
func (s *LocalSource) Vault() string { return s.vault }

// ClockSkew isn't known: the agent's clock is this machine's.
func (s *LocalSource) ClockSkew() (time.Duration, bool) { return 0, false }

// Drop does nothing: each request has a connection of its own.
func (s *LocalSource) Drop() {}

// Placeholders reports whether the set that Next gave last holds placeholders only.
func (s *LocalSource) Placeholders() bool { return s.heard().placeholders }

// Age is how long before the last answer the vault had confirmed the set, and stale whether the agent
// couldn't reach the vault then.
func (s *LocalSource) Age() (age time.Duration, stale bool) {
	h := s.heard()
	return h.age, h.state == Stale
}

func (s *LocalSource) heard() heard {
	if h := s.last.Load(); h != nil {
		return *h
	}
	return heard{}
}

// Next returns the set as Source says. With etag "" it waits a moment for an agent that is starting.
// Errors: ErrNoAgent, ErrUntrusted; ErrOtherResource; *OtherVault; api.ErrDenied if this user may not ask;
// api.ErrUnauthorized if the vault refuses the agent; api.ErrUnavailable if it has no set yet.
func (s *LocalSource) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	set, err := s.next(ctx, etag)
	s.troubled = err != nil && !errors.Is(err, api.ErrNotModified)
	return set, err
}

func (s *LocalSource) next(ctx context.Context, etag string) (api.Snapshot, error) {
	wait := changeWait
	if etag == "" {
		wait = firstWait
	} else if s.troubled {
		wait = 0
	}
	q := request{Op: opReveal, Resource: s.resource, Vault: s.vault, Etag: etag, WaitSeconds: int(wait / time.Second)}
	r, err := s.client.ask(ctx, q, wait+answerTimeout)
	switch {
	case err != nil:
		return api.Snapshot{}, err
	case r.line != nil:
		if _, err := r.parseJSON(); err != nil {
			return api.Snapshot{}, s.otherVault(err)
		}
		return api.Snapshot{}, errGarbled
	}
	if r.same && etag == "" || !r.same && r.set.Resource != s.resource {
		r.set.Wipe()
		return api.Snapshot{}, errGarbled
	}
	s.last.Store(&r.heard)
	if r.same || r.set.Etag == etag {
		r.set.Wipe()
		return api.Snapshot{}, api.ErrNotModified
	}
	return r.set, nil
}

// otherVault completes an error that says that the agent serves another vault. An agent of a version that
// doesn't know what a vault is in a request calls that malformed.
func (s *LocalSource) otherVault(err error) error {
	other, ok := errors.AsType[*OtherVault](err)
	if !ok && (s.vault == "" || !errors.Is(err, api.ErrMalformed)) {
		return err
	}
	if !ok {
		other = &OtherVault{}
	}
	other.Socket, other.Named = s.client.path, s.vault
	return other
}

// Bindings asks for what is bound to the resource, without values and placeholder tokens: as the vault lists it, or while
// that can't be asked, as the agent has it.
// Errors: those of Next; api.ErrMalformed if the agent is older than this question.
func (s *LocalSource) Bindings(ctx context.Context) ([]api.Binding, error) {
	answer, err := s.client.ask(ctx, request{Op: opBindings, Resource: s.resource, Vault: s.vault}, answerTimeout)
	if err != nil {
		return nil, err
	}
	body, err := answer.parseJSON()
	if other := (*OtherVault)(nil); errors.As(err, &other) {
		other.Socket, other.Named = s.client.path, s.vault
	}
	if err == nil && body.Bindings == nil {
		err = errGarbled
	}
	return body.Bindings, err
}

// ask makes one request, and makes it again while the agent has too many connections.
func (c *Client) ask(ctx context.Context, q request, patience time.Duration) (reply, error) {
	began := time.Now()
	for {
		r, err := c.askOnce(ctx, q, patience)
		if err != nil || r.line == nil || q.WaitSeconds > int(firstWait/time.Second) || time.Since(began) > busyTimeout {
			return r, err
		}
		if _, refused := r.parseJSON(); !errors.Is(refused, api.ErrRateLimited) {
			return r, nil
		}
		// Many clients at once come back apart from one another.
		if err := delay.Sleep(ctx, 5*time.Millisecond+delay.Random(45*time.Millisecond)); err != nil {
			return reply{}, err
		}
	}
}

func (c *Client) askOnce(ctx context.Context, q request, patience time.Duration) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	if w := c.takeSpare(); w != nil {
		if time.Since(c.dialed) > requestTime/2 {
			w.close() // the agent hangs up on who says nothing for long
			return c.askOnce(ctx, q, patience)
		}
		r, err := w.exchange(ctx, q, patience)
		if !errors.Is(err, api.ErrUnavailable) || w.silent || ctx.Err() != nil {
			return r, err
		}
	}
	w, err := connect(c.path)
	if err != nil {
		return reply{}, err
	}
	return w.exchange(ctx, q, patience)
}
