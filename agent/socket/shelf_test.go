package socket_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
)

var sandbox, snapshot = agenttest.Sandbox, agenttest.Snapshot

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shelf is an engine whose set and state a test chooses.
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
