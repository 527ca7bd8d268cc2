package replicatest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/secrets"
)

const (
	clients        = 20
	groups         = 4   // of clients; each group uses one sandbox at a time
	callsPerOne    = 400 // of a sandbox, so that looking for an order takes little time
	lostPerOne     = 6   // calls without an answer, likewise; each client of the group may add one
	keysPerSandbox = 60
	callTimeout    = 4 * time.Second
)

// issued is a resource key.
type issued struct {
	id  string
	key api.Key
}

// sandbox is what clients know of a sandbox, and the history of their calls.
type sandbox struct {
	api.Resource

	mu       sync.Mutex // guards the fields below
	secrets  [2]string  // ids that an answer has named last
	bindings [2]string
	keys     []issued
	history  []porcupine.Operation
	lost     int
}

// learn keeps the ids of an answer.
func (s *sandbox) learn(variable int, of secretState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of.id != "" {
		s.secrets[variable] = of.id
	}
	if of.binding != "" {
		s.bindings[variable] = of.binding
	}
}

func (s *sandbox) record(o ...porcupine.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range o {
		if o.Return == forever {
			s.lost++
		}
		s.history = append(s.history, o)
	}
}

// workload is a number of clients that use a cluster at the same time.
type workload struct {
	*testing.T
	vaults  [replicas]*vault
	tenant  api.Key
	began   time.Time
	stop    context.CancelFunc
	running sync.WaitGroup
	counts  sync.Map // of results, by action and result: *atomic.Int64

	mu      sync.Mutex // guards the fields below
	all     []*sandbox
	current [groups]*sandbox
}

// startWorkload starts clients, until end.
func startWorkload(t *testing.T, c *cluster) *workload {
	t.Helper()
	w := &workload{T: t, vaults: c.Vaults, tenant: c.Key(t, "tenant_"+strings.ToLower(rand.Text())), began: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	for i := range clients {
		w.running.Go(func() {
			c := w.newClient(i)
			defer c.close()
			for ctx.Err() == nil {
				c.call(t.Context(), w.sandbox(i%groups))
				select {
				case <-ctx.Done():
				case <-time.After(mathrand.N(20 * time.Millisecond)):
				}
			}
		})
	}
	t.Cleanup(func() { stop(); w.running.Wait() })
	return w
}

// end waits for the clients' calls, and reads every sandbox once more from each vault.
func (w *workload) end() {
	w.stop()
	w.running.Wait()
	c := w.newClient(clients)
	defer c.close()
	for _, s := range w.all {
		var key issued
		for key.id == "" && w.Context().Err() == nil { // until the vaults have recovered
			key = c.issue(w.Context(), s)
		}
		for i := range w.vaults {
			c.vault = i
			c.reveal(w.Context(), s, len(s.keys)-1, "")
		}
	}
}

// sandbox returns the sandbox that a group uses now.
func (w *workload) sandbox(group int) *sandbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.current[group]
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if s == nil || len(s.history) >= callsPerOne || s.lost >= lostPerOne {
		s = &sandbox{Resource: api.Resource{Type: api.Sandbox, ID: fmt.Sprint("sb_", len(w.all))}}
		w.current[group], w.all = s, append(w.all, s)
	}
	return s
}

func (w *workload) count(what string) {
	n, _ := w.counts.LoadOrStore(what, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// client calls the vaults' API, one call at a time, each at any vault.
type client struct {
	*workload
	number int
	vault  int // of the current call
	again  int // how often the current call was sent again
	calls  int
	log    zerolog.Logger
	owner  [replicas]*secrets.Client
	agents map[string]*fetch.Client // by vault and key
	of     *sandbox                 // what the fields below are about
	etag   string                   // of the last set; "": none
	set    [2]secretState           // with that etag
}

func (w *workload) newClient(number int) *client {
	c := &client{workload: w, number: number, agents: map[string]*fetch.Client{}}
	c.log = zerolog.New(nil).Hook(zerolog.HookFunc(func(_ *zerolog.Event, _ zerolog.Level, message string) {
		if message == "retrying" {
			c.again++
		}
	}))
	for i, v := range w.vaults {
		var err error
		if c.owner[i], err = secrets.New(fetch.Config{BaseURL: v.URL(), Key: w.tenant, Timeout: callTimeout, Log: c.log}); err != nil {
			w.Error(err)
		}
	}
	return c
}

func (c *client) close() {
	for _, owner := range c.owner {
		owner.Close()
	}
	for _, agent := range c.agents {
		agent.Close()
	}
}

// agent returns the client with a resource key for the current call.
func (c *client) agent(key issued) (*fetch.Client, error) {
	id := fmt.Sprint(c.vault, key.id)
	if c.agents[id] == nil {
		agent, err := fetch.New(fetch.Config{BaseURL: c.vaults[c.vault].URL(), Key: key.key, Timeout: callTimeout, Log: c.log})
		if err != nil {
			return nil, err
		}
		c.agents[id] = agent
	}
	return c.agents[id], nil
}

// call makes one call.
func (c *client) call(ctx context.Context, s *sandbox) {
	if c.of != s {
		c.of, c.etag = s, ""
		for _, agent := range c.agents {
			agent.Close()
		}
		clear(c.agents)
	}
	c.vault, c.calls = mathrand.IntN(replicas), c.calls+1
	owner := c.owner[c.vault]
	s.mu.Lock()
	variable, keys := mathrand.IntN(len(variables)), len(s.keys)
	id, binding := s.secrets[variable], s.bindings[variable]
	s.mu.Unlock()
	key := 0
	if keys > 0 {
		key = max(keys-1-mathrand.IntN(6)/4, 0) // mostly the newest
	}
	in := input{variable: variable, id: id, value: fmt.Sprintf("%s %s by %d, %d", s.ID, variables[variable], c.number, c.calls)}
	value := api.NewValue([]byte(in.value))
	switch n := mathrand.IntN(100); {
	case keys == 0 || n < 8 && keys < keysPerSandbox:
		c.issue(ctx, s)
	case n < 30:
		c.reveal(ctx, s, key, "")
	case n < 45:
		c.reveal(ctx, s, key, c.etag)
	case n < 48:
		k := s.keys[key]
		c.record(s, input{action: revokeKey, key: key}, func(*output) error { return owner.RevokeKey(ctx, k.id) })
	case id == "" || n < 60:
		in.action, in.id = setSecret, ""
		c.record(s, in, func(out *output) error {
			secret, bound, err := owner.Set(ctx, secrets.Set{Name: variables[variable], Value: value, Resource: s.Resource, ExposeAsEnv: variables[variable]})
			if err == nil {
				out.secret = secretState{id: secret.ID, version: secret.Version, binding: bound.ID}
			}
			return err
		})
	case n < 78:
		in.action = rotateSecret
		c.record(s, in, func(out *output) error {
			secret, err := owner.Rotate(ctx, id, secrets.Rotation{Value: value})
			out.secret = secretState{version: secret.Version}
			return err
		})
	case n < 82:
		c.record(s, input{action: deleteSecret, variable: variable, id: id}, func(*output) error { return owner.Delete(ctx, id) })
	case n < 90:
		c.record(s, input{action: getSecret, variable: variable, id: id}, func(out *output) error {
			secret, err := owner.Get(ctx, id)
			out.secret = secretState{version: secret.Version}
			return err
		})
	case n < 94 && binding != "":
		c.record(s, input{action: unbindSecret, variable: variable, id: binding}, func(*output) error { return owner.DeleteBinding(ctx, binding) })
	default:
		c.record(s, input{action: bindSecret, variable: variable, id: id}, func(out *output) error {
			b, err := owner.CreateBinding(ctx, secrets.NewBinding{SecretID: id, Resource: s.Resource, ExposeAsEnv: variables[variable]})
			out.secret = secretState{binding: b.ID}
			return err
		})
	}
}

// issue creates a key of the sandbox. It isn't in the history: nobody can use a key before its answer. The result is zero on an
// error.
func (c *client) issue(ctx context.Context, s *sandbox) (key issued) {
	made, err := c.owner[c.vault].CreateKey(ctx, s.Resource, nil)
	if err != nil {
		c.count("create lost")
		return key
	}
	if key.key, err = api.ParseKey(made.Key); err != nil {
		c.Error(err)
		return key
	}
	key.id = made.ID
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	return key
}

// reveal reads the sandbox's set with a key; with an etag, it waits for another one.
func (c *client) reveal(ctx context.Context, s *sandbox, key int, etag string) {
	s.mu.Lock()
	k := s.keys[key]
	s.mu.Unlock()
	agent, err := c.agent(k)
	if err != nil {
		c.Error(err)
		return
	}
	c.record(s, input{action: revealSet, key: key}, func(out *output) error {
		set, err := agent.Reveal(ctx, s.Resource, etag, time.Second)
		if errors.Is(err, api.ErrNotModified) {
			out.secrets = c.set
			c.count("not modified")
			return nil
		}
		if err != nil {
			return err
		}
		defer set.Wipe()
		for _, b := range set.Bound {
			variable := 0
			if b.ExposeAsEnv == variables[1] {
				variable = 1
			}
			out.secrets[variable] = secretState{b.SecretID, b.Version, b.Value.Reveal(), b.ID}
			s.learn(variable, out.secrets[variable])
		}
		c.etag, c.set = set.Etag, out.secrets
		return nil
	})
}

// record makes a call, and adds it to the history of the sandbox.
func (c *client) record(s *sandbox, in input, do func(*output) error) {
	var out output
	c.again = 0
	began := time.Since(c.began)
	err := do(&out)
	ended := time.Since(c.began)
	out.again = c.again > 0
	refusal, _ := errors.AsType[*api.Error](err)
	read := in.action == revealSet || in.action == getSecret
	if err != nil && !errors.Is(err, api.ErrNotFound) && !errors.Is(err, api.ErrUnauthorized) && !errors.Is(err, api.ErrUnavailable) {
		c.Errorf("%s: %v", in.action, err)
	}
	switch {
	case err == nil:
		s.learn(in.variable, out.secret)
	case errors.Is(err, api.ErrNotFound):
		out.result = notFound
	case errors.Is(err, api.ErrUnauthorized):
		out.result = refused
	case read:
		c.count(string(in.action) + " unavailable")
		return
	case refusal != nil && refusal.Retryable != nil && *refusal.Retryable && c.again == 0:
		c.count(string(in.action) + " undone") // so the vault says
		return
	default:
		out.result = lost
	}
	c.count(string(in.action) + [...]string{"", " not found", " refused", " lost"}[out.result])
	s.record(call(in, out, int64(began), int64(ended)))
	if in.action == bindSecret && out.again && out.result != lost {
		s.record(call(in, output{result: lost}, int64(began), forever)) // an earlier one
	}
}
