package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

var sandbox, snapshot = agenttest.Sandbox, agenttest.Snapshot

// plain provides the methods of a source that most tests do not need.
type plain struct{}

func (plain) Bindings(context.Context) ([]api.Binding, error) { return nil, errors.ErrUnsupported }
func (plain) Vault() string                                   { return "" }
func (plain) Placeholders() bool                              { return false }
func (plain) ClockSkew() (time.Duration, bool)                { return 0, false }
func (plain) Drop()                                           {}

// source calls next with the number of the request, from 1, in virtual time.
type source struct {
	plain
	next func(ctx context.Context, n int, etag string) (api.Snapshot, error)
	seen []time.Time
	etag []string
}

func (s *source) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	s.seen = append(s.seen, time.Now())
	s.etag = append(s.etag, etag)
	return s.next(ctx, len(s.seen), etag)
}

func (s *source) Ask(ctx context.Context) (api.Snapshot, error) { return s.Next(ctx, "") }

// begun is a source whose first set is given.
type begun struct {
	agent.Source
	first *api.Snapshot
}

func (b *begun) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	if first := b.first; etag == "" && first != nil {
		b.first = nil
		return *first, nil
	}
	return b.Source.Next(ctx, etag)
}

// follow passes the sets after first to sinks, as for a command that was started with first, until ctx ends (nil) or the
// source refuses.
func follow(ctx context.Context, src agent.Source, first api.Snapshot, log zerolog.Logger, sinks ...interface{ Take(api.Snapshot) }) error {
	e, err := agent.New(agent.Config{Resource: sandbox, Source: &begun{src, &first}, Heap: true, Log: log})
	if err == nil && first.Etag != "" {
		_, err = e.First(ctx)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	err = e.Follow(ctx, first.Etag, func(set api.Snapshot) {
		for _, s := range sinks {
			s.Take(set)
		}
	})
	cancel()
	return errors.Join(err, <-ended)
}

// never blocks until ctx ends, like a source whose set does not change.
func never(ctx context.Context) (api.Snapshot, error) {
	<-ctx.Done()
	return api.Snapshot{}, ctx.Err()
}

// sink records versions and values.
type sink struct{ took []string }

func (s *sink) Take(n api.Snapshot) {
	text := ""
	for _, b := range n.Bound {
		text += fmt.Sprintf("%s=%d:%s ", b.ExposeAsEnv, b.Version, b.Value.Reveal())
	}
	s.took = append(s.took, strings.TrimSpace(text))
}

// lines returns the level and message of each log line.
func lines(log *bytes.Buffer) []string {
	out := []string{}
	for line := range strings.Lines(log.String()) {
		level, _, _ := strings.Cut(strings.TrimPrefix(line, `{"level":"`), `"`)
		_, message, _ := strings.Cut(line, `"message":"`)
		message, _, _ = strings.Cut(message, `"`)
		out = append(out, level+": "+message)
	}
	return out
}

const (
	saysAgain = "info: vault available again"
	saysStale = "warn: vault unavailable: keeping the last set"
	saysNone  = "warn: vault unavailable: retrying"
)

// following follows a source for a virtual duration. Requests do not time out, and each set is received before the
// next request.
func following(t *testing.T, long time.Duration, first api.Snapshot, next func(ctx context.Context, n int, etag string) (api.Snapshot, error)) (*source, *sink, []string, error) {
	t.Helper()
	src, one, two := &source{}, &sink{}, &sink{}
	var log bytes.Buffer
	var err error
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		src.next = func(_ context.Context, n int, etag string) (api.Snapshot, error) {
			synctest.Wait()
			set, err := next(ctx, n, etag)
			if ctx.Err() != nil {
				synctest.Wait() // until the contexts derived from ctx have ended too
			}
			return set, err
		}
		err = follow(ctx, src, first, zerolog.New(&log).Level(zerolog.InfoLevel), one, two)
	})
	if diff := cmp.Diff(one.took, two.took); diff != "" {
		t.Errorf("two followers received different sets:\n%s", diff)
	}
	if strings.Contains(log.String(), "canary") {
		t.Error("a value is in the log")
	}
	return src, one, lines(&log), err
}

func TestFollow(t *testing.T) {
	unavailable := &api.Error{Kind: api.ErrUnavailable, Message: "not ready"}
	other := api.Bound{Label: api.Label{ID: "bnd_2", SecretID: "sec_2", ExposeAsEnv: "OTHER", Version: 5}, Value: api.NewValue([]byte("canary-x"))}
	older := other
	older.Version, older.Value = 4, api.NewValue([]byte("canary-y"))
	type step struct {
		snapshot api.Snapshot
		err      error
	}
	for _, tt := range []struct {
		name  string
		first api.Snapshot
		steps []step
		took  []string
		log   []string
		etags []string // of the requests, in order
		ends  error    // nil: the error of its context
	}{
		{
			name: "nothing changes", first: snapshot(1),
			etags: []string{snapshot(1).Etag},
		},
		{
			name: "changes", first: snapshot(1), steps: []step{{snapshot: snapshot(2)}, {snapshot: snapshot(3)}},
			took: []string{"TOKEN=2:canary-2", "TOKEN=3:canary-3"}, log: []string{},
			etags: []string{snapshot(1).Etag, snapshot(2).Etag, snapshot(3).Etag},
		},
		{
			name: "no first set", first: api.Snapshot{Resource: sandbox}, steps: []step{{err: unavailable}, {snapshot: snapshot(7)}},
			took: []string{"TOKEN=7:canary-7"}, log: []string{saysNone, saysAgain},
			etags: []string{"", "", snapshot(7).Etag},
		},
		{
			name: "a failure and its end are logged once", first: snapshot(1),
			steps: []step{{err: unavailable}, {err: errors.New("x")}, {err: api.ErrTampered}, {err: unavailable}, {snapshot: snapshot(2)}, {err: unavailable}, {err: api.ErrNotModified}},
			took:  []string{"TOKEN=2:canary-2"}, log: []string{saysStale, saysAgain, saysStale, saysAgain},
		},
		{
			name: "a tampered answer changes nothing", first: snapshot(1), steps: []step{{err: fmt.Errorf("reveal: %w", api.ErrTampered)}},
			log: []string{saysStale}, etags: []string{snapshot(1).Etag, snapshot(1).Etag},
		},
		{
			name: "a lower version is refused", first: snapshot(5), steps: []step{{snapshot: snapshot(4)}, {snapshot: snapshot(6)}, {snapshot: snapshot(5)}},
			took: []string{"TOKEN=6:canary-6"}, log: []string{saysStale, saysAgain, saysStale},
			etags: []string{snapshot(5).Etag, snapshot(5).Etag, snapshot(6).Etag, snapshot(6).Etag},
		},
		{
			name: "one lower version refuses the whole set", first: snapshot(1, other), steps: []step{{snapshot: snapshot(2, older)}},
			log: []string{saysStale},
		},
		{
			name: "a lower version is refused after its secret was unbound", first: snapshot(1, other),
			steps: []step{{snapshot: snapshot(2)}, {snapshot: snapshot(2, older)}, {snapshot: snapshot(2, other)}},
			took:  []string{"TOKEN=2:canary-2", "TOKEN=2:canary-2 OTHER=5:canary-x"}, log: []string{saysStale, saysAgain},
		},
		{
			name: "unbinding everything is a change", first: snapshot(1), steps: []step{{snapshot: api.Snapshot{Resource: sandbox, Etag: "empty"}}},
			took: []string{""}, log: []string{},
		},
		{
			name: "the same set again is no change", first: snapshot(1), steps: []step{{snapshot: snapshot(1)}, {snapshot: snapshot(1)}},
			log: []string{saysStale},
		},
		{
			name: "revoked", first: snapshot(1), steps: []step{{snapshot: snapshot(2)}, {err: fmt.Errorf("x: %w", api.NewError(api.ErrUnauthorized, "key was revoked"))}},
			took: []string{"TOKEN=2:canary-2"}, log: []string{}, ends: api.ErrUnauthorized,
		},
		{
			name: "denied", first: snapshot(1), steps: []step{{err: unavailable}, {err: api.NewError(api.ErrDenied, "x")}},
			log: []string{saysStale}, ends: api.ErrDenied,
		},
		{
			name: "not found may pass", first: snapshot(1), steps: []step{{err: api.NewError(api.ErrNotFound, "x")}, {snapshot: snapshot(2)}},
			took: []string{"TOKEN=2:canary-2"}, log: []string{saysStale, saysAgain},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, sink, log, err := following(t, time.Hour, tt.first, func(ctx context.Context, n int, _ string) (api.Snapshot, error) {
				if n > len(tt.steps) {
					return never(ctx)
				}
				return tt.steps[n-1].snapshot, tt.steps[n-1].err
			})
			if !errors.Is(err, tt.ends) {
				t.Errorf("ends with %v, want %v", err, tt.ends)
			}
			if want := len(tt.steps); tt.ends != nil && len(src.seen) != want {
				t.Errorf("%d requests, want %d", len(src.seen), want)
			}
			if diff := cmp.Diff(sink.took, tt.took); diff != "" {
				t.Errorf("received (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(log, append([]string{}, tt.log...)); diff != "" {
				t.Errorf("log (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(src.etag, tt.etags); tt.etags != nil && diff != "" {
				t.Errorf("etags (-got +want):\n%s", diff)
			}
		})
	}
}

// A refused set is wiped.
func TestFollowWipesRefusedSet(t *testing.T) {
	refused := snapshot(4)
	following(t, time.Minute, snapshot(5), func(ctx context.Context, n int, _ string) (api.Snapshot, error) {
		if n == 1 {
			return refused, nil
		}
		return never(ctx)
	})
	if got := refused.Bound[0].Value.Reveal(); strings.Contains(got, "canary") {
		t.Error("the refused value was not wiped")
	}
}

func TestFollowPauses(t *testing.T) {
	asks := func(d time.Duration) error {
		return fmt.Errorf("reveal: %w", &api.Error{Kind: api.ErrRateLimited, Message: "slow down", RetryAfter: d})
	}
	for _, tt := range []struct {
		name       string
		err        error
		nth        int // number of the failure, from 1
		least, top time.Duration
	}{
		{"first", api.ErrUnavailable, 1, 125 * time.Millisecond, 250 * time.Millisecond},
		{"second", api.ErrUnavailable, 2, 250 * time.Millisecond, 500 * time.Millisecond},
		{"fifth", api.ErrUnavailable, 5, 2 * time.Second, 4 * time.Second},
		{"at the ceiling", api.ErrUnavailable, 8, 15 * time.Second, 30 * time.Second},
		{"far past it", api.ErrUnavailable, 100, 15 * time.Second, 30 * time.Second},
		{"asked for", asks(30 * time.Second), 1, 30 * time.Second, 31 * time.Second},
		{"asked for, late", asks(40 * time.Second), 20, 40 * time.Second, 56 * time.Second},
		{"asked for nothing", asks(0), 1, 125 * time.Millisecond, 250 * time.Millisecond},
		{"asked for less than nothing", asks(-time.Hour), 1, 125 * time.Millisecond, 250 * time.Millisecond},
		{"asked for decades", asks(1e9 * time.Second), 1, time.Hour, time.Hour + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, _, _, _ := following(t, 200*time.Hour, snapshot(1), func(ctx context.Context, n int, _ string) (api.Snapshot, error) {
				if n > tt.nth {
					return never(ctx)
				}
				return api.Snapshot{}, tt.err
			})
			if got := src.seen[tt.nth].Sub(src.seen[tt.nth-1]); got < tt.least || got > tt.top {
				t.Errorf("pause of %s, want %s to %s", got, tt.least, tt.top)
			}
		})
	}
}

// Agents that fail at the same time retry at different times, also after the longest pause.
func TestFollowSpreadsRetries(t *testing.T) {
	src, _, _, _ := following(t, 12*time.Hour, snapshot(1), func(context.Context, int, string) (api.Snapshot, error) {
		return api.Snapshot{}, api.ErrUnavailable
	})
	buckets := map[time.Duration]int{}
	for i := 10; i < len(src.seen); i++ {
		buckets[src.seen[i].Sub(src.seen[i-1]).Truncate(time.Second)]++
	}
	if len(buckets) < 13 {
		t.Errorf("pauses fall on %d different seconds of 15: %v", len(buckets), buckets)
	}
}

// Half of all requests fail for 23 hours. The number of requests stays low, most rotations arrive at once, and
// afterwards the next one arrives within the longest pause.
func TestFollowFlappingVault(t *testing.T) {
	const (
		long   = 24*time.Hour + 5*time.Minute
		ill    = 23 * time.Hour
		rotate = 10 * time.Minute
		hold   = 50 * time.Second // how long a request waits at the vault
	)
	random := rand.New(rand.NewPCG(1, 2))
	var began time.Time
	var late, healed []time.Duration // the delays of rotations; those while the source worked
	requests, troubled := 0, false
	version := func() int64 { return 1 + int64(time.Since(began)/rotate) }
	src, sink, log, err := following(t, long, snapshot(1), func(ctx context.Context, n int, etag string) (api.Snapshot, error) {
		if n == 1 {
			began = time.Now()
		}
		for {
			requests++
			if time.Since(began) < ill && random.IntN(2) == 0 {
				troubled = true
				return api.Snapshot{}, api.ErrUnavailable
			}
			if now := version(); snapshot(now).Etag != etag {
				troubled = false
				late = append(late, time.Since(began)%rotate)
				healed = append(healed, min(late[len(late)-1], max(time.Since(began)-ill, 0)))
				return snapshot(now), nil
			}
			if troubled {
				troubled = false
				return api.Snapshot{}, api.ErrNotModified
			}
			next := began.Add(time.Duration(version()) * rotate)
			select {
			case <-ctx.Done():
				return api.Snapshot{}, ctx.Err()
			case <-time.After(min(hold, time.Until(next))):
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := int(long / rotate); len(late) != want || len(sink.took) != want {
		t.Errorf("%d rotations noticed, %d received, want %d", len(late), len(sink.took), want)
	}
	if worst := slices.Max(healed); worst > 30*time.Second {
		t.Errorf("with a working source, a rotation arrived after %s", worst)
	}
	slices.Sort(late)
	if median := late[len(late)/2]; median > 2*time.Second {
		t.Errorf("half of the rotations took more than %s", median)
	}
	// With a vault that never fails it would be 1,872: one each 50 s, and one for each rotation.
	if requests > 5*1872 {
		t.Errorf("%d requests in a day, %d calls of the source", requests, len(src.seen))
	}
	for i := 1; i < len(log); i++ {
		if log[i] == log[i-1] {
			t.Fatalf("line %d repeats the one before: %s", i, log[i])
		}
	}
}

// A vault that is unavailable all day is asked about every 45 s, and one warning is logged.
func TestFollowRequestBudget(t *testing.T) {
	src, _, log, _ := following(t, 24*time.Hour, snapshot(1), func(context.Context, int, string) (api.Snapshot, error) {
		return api.Snapshot{}, api.ErrUnavailable
	})
	// 86,400 s in pauses of 22.5 s on average, and a dozen shorter ones at the start.
	if n := len(src.seen); n < 3500 || n > 4200 {
		t.Errorf("%d requests in a day", n)
	}
	if diff := cmp.Diff(log, []string{saysStale}); diff != "" {
		t.Errorf("log (-got +want):\n%s", diff)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	for name, next := range map[string]func(ctx context.Context, n int, etag string) (api.Snapshot, error){
		"while it waits":  func(ctx context.Context, _ int, _ string) (api.Snapshot, error) { return never(ctx) },
		"while it pauses": func(context.Context, int, string) (api.Snapshot, error) { return api.Snapshot{}, api.ErrUnavailable },
		"with a refusal at the same moment": func(ctx context.Context, _ int, _ string) (api.Snapshot, error) {
			<-ctx.Done()
			return api.Snapshot{}, api.ErrUnauthorized
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 77*time.Second)
				defer cancel()
				began := time.Now()
				err := follow(ctx, &source{next: next}, snapshot(1), zerolog.Nop())
				if took := time.Since(began); err != nil || took != 77*time.Second {
					t.Errorf("error %v after %s", err, took)
				}
			})
		})
	}
}
