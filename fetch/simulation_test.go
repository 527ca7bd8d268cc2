package fetch_test

import (
	"context"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/pace"
	"github.com/Miosa-osa/miosa-env/internal/silence"
	"github.com/Miosa-osa/miosa-env/internal/test/simulation"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
	"github.com/rs/zerolog"
)

// site has a vault and the network between it and the agents, in memory.
type site struct {
	conf   vault.Config
	begun  time.Time
	vault  *vault.Vault
	stop   func()       // the vault
	own    *memory      // its listener
	broken *http.Server // which answers 500
	errors *memory      // its listener

	mu      sync.Mutex // guards the fields below
	to      *memory    // where connections lead; nil: they are refused
	cut     bool       // a third of the agents is
	links   map[*link]struct{}
	seconds []int // requests
}

// link is an agent's connection.
type link struct {
	net.Conn
	site  *site
	third bool          // of the agents that a partition cuts off
	lost  chan struct{} // closed when the link is closed
	once  sync.Once
}

func (l *link) isCut() bool {
	l.site.mu.Lock()
	defer l.site.mu.Unlock()
	return l.third && l.site.cut
}

// Read loses what arrives during a partition.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if err == nil && l.isCut() {
		<-l.lost
		return 0, net.ErrClosed
	}
	return n, err
}

// Write loses what is sent during a partition.
func (l *link) Write(b []byte) (int, error) {
	if l.isCut() {
		return len(b), nil
	}
	return l.Conn.Write(b)
}

func (l *link) Close() error {
	l.once.Do(func() {
		close(l.lost)
		l.site.mu.Lock()
		delete(l.site.links, l)
		l.site.mu.Unlock()
	})
	return l.Conn.Close()
}

// dialer returns the dialer of an agent.
func (s *site) dialer(third bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		s.mu.Lock()
		to, cut := s.to, third && s.cut
		s.mu.Unlock()
		switch {
		case cut:
			ctx, cancel := context.WithTimeout(ctx, pace.ConnectTime)
			defer cancel()
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		case to == nil:
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		conn, err := to.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l := &link{Conn: conn, site: s, third: third, lost: make(chan struct{})}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.links[l] = struct{}{}
		return l, nil
	}
}

// count counts a request.
func (s *site) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := int(time.Since(s.begun) / time.Second); second < len(s.seconds) {
		s.seconds[second]++
	}
}

// start starts the vault.
func (s *site) start(t *testing.T) {
	v, err := vault.Open(context.Background(), s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.vault = v
	l := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Serve(ctx, l) }()
	s.mu.Lock()
	s.to, s.own = l, l
	s.mu.Unlock()
	s.stop = func() {
		s.mu.Lock()
		s.to = nil
		s.mu.Unlock()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

// lead makes new connections lead to a listener, and closes the others.
func (s *site) lead(to *memory) {
	s.mu.Lock()
	s.to = to
	var all []*link
	for l := range s.links {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		_ = l.Close()
	}
}

// faults are those of simulation.Faults, in a shorter time.
func faults() []simulation.Fault {
	const s = time.Second
	return []simulation.Fault{
		{Name: "restart", Kind: simulation.Restart, Start: 60 * s, End: 63 * s},
		{Name: "partition", Kind: simulation.Partition, Start: 120 * s, End: 200 * s, Rotate: 150 * s},
		{Name: "errors", Kind: simulation.Errors, Start: 260 * s, End: 380 * s, Rotate: 350 * s},
		{Name: "rotation", Kind: simulation.Rotation, Start: 440 * s, End: 440 * s, Rotate: 440 * s},
	}
}

const simulated = 520 * time.Second

// agents is how many agents TestSimulation runs.
func agents(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MIOSA_SIMULATION_CLIENTS")
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A simulation has the same requests in each second as real agents and a real vault, whose operations take no time here.
func TestSimulation(t *testing.T) {
	needs.Long(t, "it runs some hundred agents through faults")
	n := agents(t)
	real := requests(t, n)
	var simulates *simulation.Result
	synctest.Test(t, func(t *testing.T) {
		m := &simulation.Model{Agents: n, PerReplica: n, PerDatabase: n, Cores: 1, DatabaseCores: 1}
		var err error
		if simulates, err = simulation.Run(m, faults(), simulated); err != nil {
			t.Fatal(err)
		}
	})
	const bin = 5 // seconds
	for second := 60; second < len(real); second += bin {
		got, want := 0, 0
		for i := second; i < second+bin; i++ {
			got += simulates.Seconds[i].Requests
			want += real[i]
		}
		// The difference of two random counts.
		if most := 5*math.Sqrt(float64(got+want)) + 5; math.Abs(float64(got-want)) > most {
			t.Errorf("seconds %d to %d: %d simulated requests, %d real ones", second, second+bin, got, want)
		}
	}
}

// requests returns the requests of each second that n real agents send to a real vault.
func requests(t *testing.T, n int) []int {
	dir := t.TempDir()
	root, err := keyring.NewRoot()
	must(t, err)
	s := &site{links: map[*link]struct{}{}, seconds: make([]int, simulated/time.Second)}
	s.conf = vault.Config{Store: store.Config{DataDir: dir, RootKey: keyring.Root{Text: root}, Watch: time.Second},
		Limits: limit.Values{limit.TenantWrites: 1e6, limit.Writes: 1e6, limit.TenantEvents: 1e6, limit.Events: 1e6}}
	s.conf.OnRequest = func(string) { s.count() }
	synctest.Test(t, func(t *testing.T) {
		s.begun = time.Now()
		s.start(t)
		operator, keys, secret := s.fill(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i, key := range keys {
			running.Go(func() { s.follow(ctx, t, i, key) })
		}
		s.errors = &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.broken = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.count()
			w.WriteHeader(http.StatusInternalServerError)
		})}
		running.Go(func() { _ = s.broken.Serve(s.errors) })
		for _, f := range faults() {
			s.until(f.Start)
			s.begin(f.Kind)
			if f.Rotate > 0 {
				s.until(f.Rotate)
				_, err := s.vault.Store().RotateSecret(ctx, operator, secret, store.Rotation{Value: api.NewValue([]byte(f.Name))})
				must(t, err)
			}
			s.until(f.End)
			s.finish(t, f.Kind)
		}
		s.until(simulated)
		cancel()
		s.lead(nil)
		_ = s.broken.Close()
		running.Wait()
		s.stop()
	})
	return s.seconds
}

// fill creates the resources of n agents, which have the same secret, and returns their keys.
func (s *site) fill(t *testing.T, n int) (operator store.Actor, keys []api.Key, secretID string) {
	t.Helper()
	_, err := s.vault.Store().CreateTenantKey(t.Context(), "test")
	must(t, err)
	operator, err = s.vault.Store().LocalActor(t.Context(), "test")
	must(t, err)
	secret, _, _, err := s.vault.Store().PutSecret(t.Context(), operator, api.NewSecret{Name: "shared", Value: api.NewValue([]byte("one"))}, nil)
	must(t, err)
	for i := range n {
		r := api.Resource{Type: api.Sandbox, ID: "sb_" + strconv.Itoa(i)}
		_, _, err := s.vault.Store().CreateBinding(t.Context(), operator, api.NewBinding{SecretID: secret.ID, Resource: r, ExposeAsEnv: "SHARED"})
		must(t, err)
		made, err := s.vault.Store().IssueResourceKey(t.Context(), operator, api.KeyRequest{Resource: r})
		must(t, err)
		key, err := api.ParseKey(made.Key)
		must(t, err)
		keys = append(keys, key)
	}
	return operator, keys, secret.ID
}

// follow runs an agent, from a random time in the first minute on.
func (s *site) follow(ctx context.Context, t *testing.T, i int, key api.Key) {
	if delay.Sleep(ctx, delay.Random(time.Minute)) != nil {
		return
	}
	r := api.Resource{Type: api.Sandbox, ID: "sb_" + strconv.Itoa(i)}
	c, err := fetch.New(fetch.Config{BaseURL: "http://127.0.0.1:1", Key: key})
	if err != nil {
		t.Error(err)
		return
	}
	c.DialWith(s.dialer(i%3 == 0))
	e, err := agent.New(agent.Config{Resource: r, Source: c.Source(r), Heap: true, Log: zerolog.Nop()})
	if err == nil {
		err = e.Run(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	c.Close()
}

func (s *site) until(at time.Duration) {
	_ = delay.Sleep(context.Background(), time.Until(s.begun.Add(at)))
}

func (s *site) begin(k simulation.Kind) {
	switch k {
	case simulation.Restart:
		s.stop()
	case simulation.Partition:
		s.mu.Lock()
		s.cut = true
		for l := range s.links {
			if l.third {
				time.AfterFunc(silence.Limit, func() { _ = l.Close() })
			}
		}
		s.mu.Unlock()
	case simulation.Errors:
		s.lead(s.errors)
	case simulation.Rotation:
	}
}

func (s *site) finish(t *testing.T, k simulation.Kind) {
	switch k {
	case simulation.Restart:
		s.start(t)
	case simulation.Partition:
		s.mu.Lock()
		s.cut = false
		s.mu.Unlock()
	case simulation.Errors:
		s.lead(s.own)
	case simulation.Rotation:
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
