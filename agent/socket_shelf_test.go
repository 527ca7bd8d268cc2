package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// shelf is what a socket serves where a test wants to say what that is.

type shelf struct {
	mu      sync.Mutex // guards the fields below
	set     api.Snapshot
	status  agent.Status
	changed chan struct{}
	fresh   func(context.Context) error
	asked   int // times a refresh was asked for
}

func newShelf(set api.Snapshot) *shelf {
	s := &shelf{changed: make(chan struct{})}
	s.become(set, agent.Fresh)
	return s
}

func (s *shelf) become(set api.Snapshot, state agent.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = set
	s.status = agent.Status{
		State: state, Resource: sandbox, Etag: set.Etag, Bindings: len(set.Bound), Age: 1.5, Version: "test",
		ConfirmedAt: time.Now(), StartedAt: time.Now(), Outputs: []agent.OutputStatus{{Name: "/run/x", State: agent.Written}},
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shelf) Snapshot() (api.Snapshot, agent.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, s.status
}

func (s *shelf) Wait(ctx context.Context, etag string) (api.Snapshot, error) {
	for {
		s.mu.Lock()
		set, state, changed := s.set, s.status.State, s.changed
		s.mu.Unlock()
		if state == agent.Refused {
			return api.Snapshot{}, fmt.Errorf("reveal: %w", api.ErrUnauthorized)
		}
		if state != agent.Starting && set.Etag != etag {
			return set, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return api.Snapshot{}, ctx.Err()
		}
	}
}

func (s *shelf) Bindings(context.Context) ([]api.Binding, error) {
	set, _ := s.Snapshot()
	return set.Bindings(), nil
}

func (s *shelf) Refresh(ctx context.Context) error {
	s.mu.Lock()
	s.asked++
	fresh := s.fresh
	s.mu.Unlock()
	if fresh != nil {
		return fresh(ctx)
	}
	return nil
}

// logged is a log that is read while it is written.

type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// socketAt serves on a path in a new folder until the test ends or stop is called.

type socketAt struct {
	*agent.Socket
	path string
	log  *logged
	stop func()
}

func serveSocket(t testing.TB, served agent.Served, allow agent.Peers) socketAt {
	t.Helper()
	dir, err := os.MkdirTemp("", "socket") // a test's own folder makes too long a path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	at := socketAt{path: filepath.Join(dir, "miosa-env", "agent.sock"), log: &logged{}}
	at.Socket, err = agent.Listen(agent.SocketConfig{Path: at.path, Agent: served, Allow: allow, Log: zerolog.New(at.log).Level(zerolog.TraceLevel)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- at.Serve(ctx) }()
	at.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the socket doesn't stop")
		}
	})
	t.Cleanup(at.stop)
	return at
}

func (at socketAt) dial(t testing.TB) *agent.Client {
	t.Helper()
	c, err := agent.Dial(at.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// raw sends text as it is, and returns the connection.

func (at socketAt) raw(t testing.TB, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", at.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if text == "" {
		return c
	}
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return c
}

// hear reads all there is until the agent hangs up.

func hear(t testing.TB, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	text, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(text)
}
