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

// fakeEngine is an engine whose set and state a test chooses.
type fakeEngine struct {
	mu      sync.Mutex // guards the fields below
	set     api.Snapshot
	status  agent.Status
	changed chan struct{}
	fresh   func(context.Context) error
	asked   int // times a refresh was asked for
}

func newFakeEngine(set api.Snapshot) *fakeEngine {
	s := &fakeEngine{changed: make(chan struct{})}
	s.become(set, agent.Fresh)
	return s
}

func (s *fakeEngine) become(set api.Snapshot, state agent.State) {
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

func (s *fakeEngine) Snapshot() (api.Snapshot, agent.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, s.status
}

func (s *fakeEngine) Wait(ctx context.Context, etag string) (api.Snapshot, error) {
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

func (s *fakeEngine) Bindings(context.Context) ([]api.Binding, error) {
	set, _ := s.Snapshot()
	return set.Bindings(), nil
}

func (s *fakeEngine) Refresh(ctx context.Context) error {
	s.mu.Lock()
	s.asked++
	fresh := s.fresh
	s.mu.Unlock()
	if fresh != nil {
		return fresh(ctx)
	}
	return nil
}

// readAll reads until the agent closes the connection.
func readAll(t testing.TB, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	text, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(text)
}
