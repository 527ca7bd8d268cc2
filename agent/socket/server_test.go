package socket_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func TestSocketReveal(t *testing.T) {
	set := many(100)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	c := at.Dial(t)
	src := c.Source(sandbox, "")
	for range 3 { // over the connection that Dial made, and over new ones
		got, err := src.Next(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(opened(got), opened(set)); diff != "" {
			t.Fatalf("set (-got +want):\n%s", diff)
		}
	}
	if age, stale := src.Age(); age != 1500*time.Millisecond || stale || src.Placeholders() {
		t.Errorf("age %v, stale = %v, placeholders = %v", age, stale, src.Placeholders())
	}
	status, err := c.Status(t.Context())
	if err != nil || status.State != agent.Fresh || status.Bindings != 100 || status.Resource != sandbox || len(status.Outputs) != 1 {
		t.Errorf("status %+v, %v", status, err)
	}
	at.Stop()
	log := at.Log.String()
	if strings.Contains(log, "canary") {
		t.Error("a value is in the log")
	}
	line, _, _ := strings.Cut(log, "\n")
	want := fmt.Sprintf(`{"level":"info","op":"reveal","outcome":"ok","uid":%d,"gid":%d,"pid":%d,"names":["VARIABLE_0","VARIABLE_1",`, os.Geteuid(), os.Getegid(), os.Getpid())
	if !strings.HasPrefix(line, want) || strings.Count(log, `"op":"reveal","outcome":"ok"`) != 3 {
		t.Errorf("audit line is %.300s, want %s", line, want)
	}
}

func TestSocketRefusals(t *testing.T) {
	set := many(2)
	other := api.Resource{Type: api.Sandbox, ID: "sb_2"}
	for _, tt := range []struct {
		name     string
		state    agent.State
		resource api.Resource
		want     error
	}{
		{"another resource", agent.Fresh, other, socket.ErrOtherResource},
		{"another type", agent.Fresh, api.Resource{Type: api.Computer, ID: "sb_1"}, socket.ErrOtherResource},
		{"another resource, refused", agent.Refused, other, socket.ErrOtherResource},
		{"refused", agent.Refused, sandbox, api.ErrUnauthorized},
		{"starting", agent.Starting, sandbox, api.ErrUnavailable},
		{"no resource", agent.Fresh, api.Resource{}, api.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			served := newFakeEngine(set)
			if tt.state != agent.Fresh {
				served.become(api.Snapshot{}, tt.state)
			}
			at := agenttest.Serve(t, served, peer.List{})
			got, err := at.Dial(t).Source(tt.resource, "").Next(t.Context(), "")
			if !errors.Is(err, tt.want) || len(got.Bound) > 0 {
				t.Errorf("%d values, error %v, want %v", len(got.Bound), err, tt.want)
			}
		})
	}
}

// A client waits a moment for the first set of an agent that is starting.
func TestSocketWhileStarting(t *testing.T) {
	served := newFakeEngine(api.Snapshot{})
	served.become(api.Snapshot{}, agent.Starting)
	at := agenttest.Serve(t, served, peer.List{})
	go func() {
		poll.Until(t, 30*time.Second, "a client waits", func() bool { _, waiting := at.Counts(); return waiting == 1 })
		served.become(many(3), agent.Stale)
	}()
	src := at.Dial(t).Source(sandbox, "")
	got, err := src.Next(t.Context(), "")
	if err != nil || len(got.Bound) != 3 {
		t.Fatalf("%d values, error %v", len(got.Bound), err)
	}
	if _, stale := src.Age(); !stale {
		t.Error("the set isn't stale")
	}
}

// A client that waits gets each change, and an engine can follow it.
func TestSocketWait(t *testing.T) {
	served := newFakeEngine(snapshot(1))
	at := agenttest.Serve(t, served, peer.List{})
	e, err := agent.New(agent.Config{Resource: sandbox, Source: at.Dial(t).Source(sandbox, ""), Heap: true, Log: zerolog.Nop()})
	must(t, err)
	first, err := e.First(t.Context())
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	running, ended, sets := make(chan error, 1), make(chan error, 1), make(chan api.Snapshot)
	go func() { running <- e.Run(ctx) }()
	defer func() { cancel(); must(t, <-running) }()
	go func() { ended <- e.Follow(ctx, first.Etag, func(set api.Snapshot) { sets <- set }) }()
	for v := int64(2); v < 12; v++ {
		poll.Until(t, 30*time.Second, "the follower waits", func() bool { _, waiting := at.Counts(); return waiting == 1 })
		served.become(snapshot(v), agent.Fresh)
		select {
		case set := <-sets:
			if got, want := set.Bound[0].Value.Reveal(), fmt.Sprintf("canary-%d", v); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("version %d didn't arrive", v)
		}
	}
	served.become(api.Snapshot{}, agent.Refused)
	if err := <-ended; !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("ended with %v, want %v", err, api.ErrUnauthorized)
	}
}

func TestSocketWaitPasses(t *testing.T) {
	set := many(2)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	for _, wait := range []int{0, 1} {
		line := fmt.Sprintf(`{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","etag":%q,"wait_seconds":%d}`+"\n", set.Etag, wait)
		if got := readAll(t, at.Send(t, line)); got != "same 2 fresh 1500\n" {
			t.Errorf("after %d s: %q", wait, got)
		}
	}
}

// A client that closes its connection, or whose context ends, is no longer counted.
func TestSocketClientsThatLeave(t *testing.T) {
	set := snapshot(1)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	src := at.Dial(t).Source(sandbox, "")
	go func() { _, err := src.Next(ctx, set.Etag); ended <- err }()
	c := at.Send(t, fmt.Sprintf(`{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","etag":%q,"wait_seconds":60}`+"\n", set.Etag))
	poll.Until(t, 30*time.Second, "both wait", func() bool { active, waiting := at.Counts(); return active == 0 && waiting == 2 })
	_ = c.Close()
	poll.Until(t, 30*time.Second, "one has ended", func() bool { _, waiting := at.Counts(); return waiting == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client's error is %v, want %v", err, context.Canceled)
	}
	poll.Until(t, 30*time.Second, "both have ended", func() bool { _, waiting := at.Counts(); return waiting == 0 })
}

func TestSocketStops(t *testing.T) {
	set := snapshot(1)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	c := at.Dial(t)
	src := c.Source(sandbox, "")
	ended := make(chan error, 1)
	go func() { _, err := src.Next(t.Context(), set.Etag); ended <- err }()
	silent := at.Send(t, "")
	poll.Until(t, 30*time.Second, "one waits and one is idle", func() bool { active, waiting := at.Counts(); return active == 1 && waiting == 1 })
	at.Stop()
	if err := <-ended; !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("error of a waiting client: %v, want %v", err, api.ErrUnavailable)
	}
	if got := readAll(t, silent); !strings.Contains(got, "the agent is stopping") {
		t.Errorf("reply to an idle client: %q", got)
	}
	if _, err := os.Lstat(at.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := socket.Dial(at.Path()); !errors.Is(err, socket.ErrNoAgent) {
		t.Errorf("dial: %v, want %v", err, socket.ErrNoAgent)
	}
	if _, err := src.Next(t.Context(), set.Etag); !errors.Is(err, socket.ErrNoAgent) {
		t.Errorf("next: %v, want %v", err, socket.ErrNoAgent)
	}
}

func TestSocketRefresh(t *testing.T) {
	t.Parallel()
	served := newFakeEngine(many(1))
	at := agenttest.Serve(t, served, peer.List{})
	c := at.Dial(t)
	for _, tt := range []struct {
		name string
		give error
		want error
	}{
		{"fresh", nil, nil},
		{"revoked", fmt.Errorf("reveal: %w", api.ErrDenied), api.ErrUnauthorized},
		{"left alone", &api.Error{Kind: api.ErrRateLimited, Message: "the vault asked to be left alone", RetryAfter: time.Hour}, api.ErrUnavailable},
		{"down", errors.New("connection refused by msk_r_0123456789abcdef"), api.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			served.mu.Lock()
			served.fresh = func(context.Context) error { return tt.give }
			served.mu.Unlock()
			status, err := c.Refresh(t.Context())
			if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || status.State != agent.Fresh) {
				t.Errorf("status %+v, error %v, want %v", status, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "0123456789") {
				t.Errorf("%q contains a key", err)
			}
		})
	}
}

// Refresh requests of clients that come at once are one request to the vault; those that come during it share the next.
func TestSocketRefreshesTogether(t *testing.T) {
	served := newFakeEngine(many(1))
	asking, goOn := make(chan struct{}, 8), make(chan struct{})
	served.fresh = func(context.Context) error { asking <- struct{}{}; <-goOn; return nil }
	at := agenttest.Serve(t, served, peer.List{})
	var all sync.WaitGroup
	ask := func() {
		c := at.Dial(t)
		all.Go(func() {
			if _, err := c.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	ask()
	<-asking
	for range 20 {
		ask()
	}
	poll.Until(t, 30*time.Second, "all clients wait", func() bool { _, waiting := at.Counts(); return waiting == 21 })
	close(goOn)
	all.Wait()
	at.Stop()
	if served.asked != 2 {
		t.Errorf("the vault was asked %d times, want 2", served.asked)
	}
}

func TestListen(t *testing.T) {
	at := agenttest.Serve(t, newFakeEngine(many(1)), peer.List{})
	mode := fs.FileMode(0o600)
	if os.Geteuid() == 0 {
		mode = 0o666
	}
	if info, err := os.Lstat(at.Path()); err != nil || info.Mode() != mode|fs.ModeSocket {
		t.Errorf("socket %v, %v", info.Mode(), err)
	}
	if _, err := socket.Listen(socket.Config{Path: at.Path() + "2"}); err == nil {
		t.Error("Listen without an engine returned no error")
	}
}
