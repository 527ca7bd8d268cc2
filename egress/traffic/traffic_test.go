package traffic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/traffic"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/store"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// client returns a client of a vault with a broker key of sandbox, and the tenant's actor.
func client(t *testing.T, s *vaulttest.Server) (*fetch.Client, store.Actor) {
	t.Helper()
	owner, err := s.Vault().Store().Authenticate(t.Context(), s.TenantKey.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := s.Vault().Store().IssueKey(t.Context(), owner, api.KeyRequest{Broker: true, Restrictions: api.Restrictions{Resources: []string{sandbox.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fetch.New(fetch.Config{BaseURL: s.BaseURL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, owner
}

func event(host string, n int) api.TrafficEvent {
	return api.TrafficEvent{Resource: sandbox, Host: host, Method: "GET", Path: fmt.Sprint("/", n), StatusCode: 200, Effect: api.EffectAllow}
}

// run runs a recorder until the test ends.
func run(t *testing.T, r *traffic.Recorder) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { stop(); ended.Wait() })
}

// recorded returns the paths of a host's events in the vault, in their order.
func recorded(t *testing.T, s *vaulttest.Server, owner store.Actor, host string) (paths []string) {
	t.Helper()
	for cursor, more := "", true; more; more = cursor != "" {
		f := store.AuditFilter{Host: host, Since: new(time.Now().Add(-time.Hour)), Limit: 1000, Cursor: cursor}
		events, next, err := s.Vault().Store().Audit(t.Context(), owner, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			paths = append(paths, e.Path)
		}
		cursor = next
	}
	return paths
}

func numbered(n int) (paths []string) {
	for i := range n {
		paths = append(paths, fmt.Sprint("/", i))
	}
	return paths
}

func waiting(r *traffic.Recorder) int {
	n, _ := r.Waiting()
	return n
}

// counts returns the metric of what became of events.
func counts(t *testing.T, from *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if f.GetName() == "miosa_egress_traffic_events_total" && one.GetCounter().GetValue() != 0 {
				m[one.GetLabel()[0].GetValue()] = one.GetCounter().GetValue()
			}
		}
	}
	return m
}

// Events come to the vault in batches, each once and in order, also those that were recorded while it was away, and those whose
// answer was lost.
func TestRecorder(t *testing.T) {
	s := vaulttest.Start(t)
	c, owner := client(t, s)
	lossy := &lossyVault{Vault: c}
	metrics := prometheus.NewRegistry()
	r := traffic.New(traffic.Config{Vault: lossy, Interval: 20 * time.Millisecond, Metrics: metrics})
	run(t, r)
	const n = 2500
	for i := range n {
		r.Record(event("a.example.com", i))
	}
	poll.Until(t, time.Minute, "all are reported", func() bool { return waiting(r) == 0 })
	if diff := cmp.Diff(recorded(t, s, owner, "a.example.com"), numbered(n)); diff != "" {
		t.Errorf("(-got +want)\n%.500s", diff)
	}
	s.Stop(t)
	for i := range n {
		r.Record(event("b.example.com", i))
	}
	poll.Until(t, time.Minute, "a report fails", func() bool { return lossy.failed() > 0 })
	if waiting(r) != n {
		t.Errorf("%d events wait, want %d", waiting(r), n)
	}
	lossy.lose(2)
	s.Restart(t)
	poll.Until(t, 2*time.Minute, "all are reported", func() bool { return waiting(r) == 0 })
	if diff := cmp.Diff(recorded(t, s, owner, "b.example.com"), numbered(n)); diff != "" {
		t.Errorf("after an outage (-got +want)\n%.500s", diff)
	}
	if diff := cmp.Diff(counts(t, metrics), map[string]float64{"reported": 2 * n}); diff != "" {
		t.Errorf("metrics (-got +want)\n%s", diff)
	}
}

// lossyVault is a vault some of whose answers are lost.
type lossyVault struct {
	traffic.Vault
	mu           sync.Mutex // guards the fields below
	lost, errors int
}

// lose makes the next answers be lost.
func (l *lossyVault) lose(answers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = answers
}

func (l *lossyVault) failed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors
}

func (l *lossyVault) ReportTraffic(ctx context.Context, events []json.RawMessage) (api.TrafficAnswer, error) {
	a, err := l.Vault.ReportTraffic(ctx, events)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.lost > 0 {
		l.lost--
		return api.TrafficAnswer{}, api.NewError(api.ErrUnavailable, "lost")
	}
	if err != nil {
		l.errors++
	}
	return a, err
}

// An event that the vault refuses is dropped alone, and keeps back no other.
func TestRefusedEvents(t *testing.T) {
	s := vaulttest.Start(t)
	c, owner := client(t, s)
	metrics := prometheus.NewRegistry()
	r := traffic.New(traffic.Config{Vault: c, Interval: 20 * time.Millisecond, Metrics: metrics})
	for i := range 100 {
		e := event("a.example.com", i)
		if i == 3 || i == 77 {
			e.Host = "a\u202eb.example.com" // an invisible character
		}
		r.Record(e)
	}
	r.Record(api.TrafficEvent{Resource: sandbox, Host: "a.example.com", Effect: "drop"})
	run(t, r)
	poll.Until(t, time.Minute, "all are reported", func() bool { return waiting(r) == 0 })
	if got := recorded(t, s, owner, "a.example.com"); len(got) != 98 {
		t.Errorf("%d events, want 98", len(got))
	}
	if diff := cmp.Diff(counts(t, metrics), map[string]float64{"reported": 98, "refused": 2, "invalid": 1}); diff != "" {
		t.Errorf("metrics (-got +want)\n%s", diff)
	}
}

// Events of resources that the key doesn't cover are dropped and counted, and keep back no others. A key that covers them has later ones reported.
func TestRefusedResource(t *testing.T) {
	s := vaulttest.Start(t)
	c, owner := client(t, s)
	vault := &changedVault{}
	vault.Store(c)
	metrics := prometheus.NewRegistry()
	var log bytes.Buffer
	r := traffic.New(traffic.Config{Vault: vault, Interval: 20 * time.Millisecond, Metrics: metrics, Log: zerolog.New(&log)})
	resources := []api.Resource{sandbox, {Type: api.Sandbox, ID: "typo"}, {Type: api.Computer, ID: "sb_1"}}
	record := func(host string) {
		for i := range 100 {
			for _, of := range resources {
				e := event(host, i)
				e.Resource, e.Refused = of, of != sandbox
				if i == 3 {
					e.Host = "a\u202eb.example.com" // an invisible character
				}
				r.Record(e)
			}
		}
	}
	record("a.example.com")
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { r.Run(ctx) })
	defer func() { stop(); ended.Wait() }()
	poll.Until(t, time.Minute, "nothing waits", func() bool { return waiting(r) == 0 })
	want := slices.DeleteFunc(numbered(100), func(path string) bool { return path == "/3" })
	if diff := cmp.Diff(recorded(t, s, owner, "a.example.com"), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(counts(t, metrics), map[string]float64{"reported": 99, "refused": 201}); diff != "" {
		t.Errorf("metrics (-got +want)\n%s", diff)
	}
	for i, lost := range []uint64{1, 100, 100} {
		if got := r.Lost(resources[i]); got != lost {
			t.Errorf("%s: %d events are lost, want %d", resources[i], got, lost)
		}
	}
	key, _ := s.MintBrokerKey(t, resources[:2]...)
	other, err := fetch.New(fetch.Config{BaseURL: s.BaseURL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	vault.Store(other)
	record("b.example.com")
	poll.Until(t, time.Minute, "nothing waits", func() bool { return waiting(r) == 0 })
	if got := recorded(t, s, owner, "b.example.com"); len(got) != 2*99 {
		t.Errorf("%d events, want those of two resources", len(got))
	}
	stop()
	ended.Wait()
	for _, of := range []string{"sandbox:typo", "computer:sb_1"} {
		if text := log.String(); !strings.Contains(text, `"resource":"`+of+`","events":`) || strings.Contains(text, "example.com") {
			t.Errorf("the log has\n%s", text)
		}
	}
}

// changedVault is a vault whose key changes.
type changedVault struct{ atomic.Pointer[fetch.Client] }

func (c *changedVault) ReportTraffic(ctx context.Context, events []json.RawMessage) (api.TrafficAnswer, error) {
	return c.Load().ReportTraffic(ctx, events)
}

// What others than the vault answer, such as a proxy, drops no events.
func TestRefusedByAProxy(t *testing.T) {
	for _, status := range []int{400, 403, 404, 407, 408, 422} {
		var asked atomic.Int64
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
		}))
		c, err := fetch.New(fetch.Config{BaseURL: proxy.URL, Key: api.NewKey(api.BrokerKeyPrefix)})
		if err != nil {
			t.Fatal(err)
		}
		r := traffic.New(traffic.Config{Vault: c, Interval: time.Millisecond})
		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		r.Record(event("a.example.com", 1))
		r.Record(event("a.example.com", 2))
		ended.Go(func() { r.Run(ctx) })
		poll.Until(t, time.Minute, "a report fails", func() bool { return asked.Load() > 0 })
		stop()
		ended.Wait()
		if waiting(r) != 2 || r.Failure() == nil {
			t.Errorf("status %d: %d events wait, the last report says %v", status, waiting(r), r.Failure())
		}
		c.Close()
		proxy.Close()
	}
}

// A broker whose key is revoked keeps its events: another key may be given to it.
func TestRevokedBrokerKeepsItsEvents(t *testing.T) {
	s := vaulttest.Start(t)
	c, owner := client(t, s)
	lossy := &lossyVault{Vault: c}
	r := traffic.New(traffic.Config{Vault: lossy, Interval: 20 * time.Millisecond})
	keys, _, err := s.Vault().Store().IssuedKeys(t.Context(), owner, store.KeyFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Broker {
			if err := s.Vault().Store().RevokeKey(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(t, r)
	r.Record(event("a.example.com", 1))
	poll.Until(t, time.Minute, "a report fails", func() bool { return lossy.failed() > 0 })
	if waiting(r) != 1 {
		t.Errorf("%d events wait", waiting(r))
	}
}

// absentVault is a vault that nobody reaches until it is there.
type absentVault struct {
	there atomic.Bool
	used  atomic.Int64 // requests with secrets that were reported
	last  atomic.Int64 // the highest number of a plain request that was reported
}

func (a *absentVault) ReportTraffic(_ context.Context, events []json.RawMessage) (api.TrafficAnswer, error) {
	if !a.there.Load() {
		return api.TrafficAnswer{}, api.NewError(api.ErrUnavailable, "away")
	}
	for _, text := range events {
		var e api.TrafficEvent
		if json.Unmarshal(text, &e) == nil && len(e.Swapped) > 0 {
			a.used.Add(1)
		} else if n, err := strconv.Atoi(strings.Trim(e.Path, "/p")); err == nil {
			a.last.Store(max(a.last.Load(), int64(n)))
		}
	}
	return api.TrafficAnswer{Recorded: len(events)}, nil
}

// While the vault is away, memory is bounded, and many plain requests don't displace those with secrets.
func TestAttack_TrafficWhileTheVaultIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const memory = 1 << 20
		metrics, vault := prometheus.NewRegistry(), &absentVault{}
		r := traffic.New(traffic.Config{Vault: vault, Memory: memory, Metrics: metrics})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		used := event("api.example.com", 0)
		used.Swapped = []api.EventRef{{ID: "bnd_1", SecretID: "sec_1", Version: 1}}
		const plain, important = 20_000, 500
		for i := range plain {
			e := event("evil.example.com", i)
			e.Path += strings.Repeat("p", 2000)
			r.Record(e)
			if i%(plain/important) == 0 {
				r.Record(used)
			}
			if i%1000 == 0 {
				<-time.After(time.Minute)
			}
		}
		<-time.After(time.Hour)
		n, bytes := r.Waiting()
		if bytes > memory || bytes < memory/2 {
			t.Errorf("%d events wait in %d bytes, of %d", n, bytes, memory)
		}
		if dropped := counts(t, metrics)["dropped"]; int(dropped) != plain+important-n {
			t.Errorf("%v events were dropped, and %d wait", dropped, n)
		}
		vault.there.Store(true)
		<-time.After(time.Hour)
		if left, _ := r.Waiting(); left != 0 || vault.used.Load() != important {
			t.Errorf("%d events are left, and %d with secrets were reported, want %d", left, vault.used.Load(), important)
		}
		if vault.last.Load() != plain-1 {
			t.Errorf("the last plain request that was reported is %d, want %d: the oldest are dropped first", vault.last.Load(), plain-1)
		}
		stop()
		<-ended
	})
}

// busyVault asks for no reports for a year, once.
type busyVault struct{ reports atomic.Int64 }

func (b *busyVault) ReportTraffic(context.Context, []json.RawMessage) (api.TrafficAnswer, error) {
	if b.reports.Add(1) == 1 {
		return api.TrafficAnswer{}, &api.Error{Kind: api.ErrUnavailable, Message: "busy", RetryAfter: 365 * 24 * time.Hour}
	}
	return api.TrafficAnswer{}, nil
}

// A pause that the vault asks for lasts an hour at most, as an agent's.
func TestLongRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := traffic.New(traffic.Config{Vault: &busyVault{}})
		run(t, r)
		r.Record(event("api.example.com", 1))
		time.Sleep(30 * time.Minute)
		if n := waiting(r); n != 1 {
			t.Errorf("%d events wait: the pause wasn't kept", n)
		}
		time.Sleep(time.Hour)
		if n := waiting(r); n != 0 {
			t.Errorf("%d events wait after an hour", n)
		}
	})
}
