package attacktest

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/reveals"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

const (
	reconnectWithin = 60 * time.Second
	reconnectErrors = 0.001 // for each agent
	reconnectTenant = 1000  // agents of a tenant
)

// agents is how many agents reconnect.
func agents(t *testing.T) int {
	t.Helper()
	return needs.Number(t, "MIOSA_ATTACK_AGENTS", 2000)
}

// herd is a number of agents of several tenants, each with a secret that all agents of the tenant have.
type herd struct {
	agents  []reveals.Agent
	tenants []store.Actor
	secrets []string // of the tenants
}

// newHerd stores the tenants and agents in a vault's store.
func newHerd(t *testing.T, s *store.Store, n int) *herd {
	t.Helper()
	h := &herd{agents: make([]reveals.Agent, n)}
	var group errgroup.Group
	const atOnce = 128 // they share commits
	group.SetLimit(atOnce)
	for i := range n {
		if i%reconnectTenant == 0 {
			name := fmt.Sprintf("tenant-%d", len(h.tenants))
			if _, err := s.CreateTenantKey(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			owner, err := s.LocalActor(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			secret, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "shared", Value: sharedValue(1), Scope: "tenant"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			h.tenants, h.secrets = append(h.tenants, owner), append(h.secrets, secret.ID)
		}
		owner, secret := h.tenants[len(h.tenants)-1], h.secrets[len(h.secrets)-1]
		group.Go(func() error {
			r := api.Resource{Type: api.Sandbox, ID: fmt.Sprintf("sb_%d", i)}
			if _, _, err := s.CreateBinding(t.Context(), owner, api.NewBinding{SecretID: secret, Resource: r, ExposeAsEnv: "SHARED"}); err != nil {
				return err
			}
			key, err := s.CreateResourceKey(t.Context(), owner, r, nil)
			h.agents[i] = reveals.Agent{Resource: r, Key: key.Key}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return h
}

func sharedValue(version int64) api.Value {
	return api.NewValue(fmt.Appendf(nil, "a-value-of-forty-characters-as-keys-%04d", version))
}

// rotate rotates the secrets of all tenants.
func (h *herd) rotate(t *testing.T, s *store.Store, version int64) {
	t.Helper()
	for i, owner := range h.tenants {
		if _, err := s.RotateSecret(t.Context(), owner, h.secrets[i], store.Rotation{Value: sharedValue(version)}); err != nil {
			t.Fatal(err)
		}
	}
}

// openStore opens a vault's store next to its server.
func (v *vault) openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DataDir: v.data(), RootKey: keyring.Root{File: v.rootKey()}, Shared: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// All agents wait again within a minute after their vault was restarted, and have what was rotated meanwhile.
//
// An error, as agents see it, is a response other than a set or "unchanged", a set that doesn't open or has a lower version, and an
// agent that isn't current after that minute. A connection that is closed or not accepted is none: the vault has places for a part of
// the agents at a time (keyless_connections, address_connections), and an agent that has lost its vault stays as it is, and tries again.
func TestFault_V8_Reconnect(t *testing.T) {
	n := agents(t)
	if testing.Short() {
		n = min(n, 200)
	}
	needFiles(t, uint64(n)+1000)
	v := start(t, "--limit", fmt.Sprintf("connections=%d", max(2*n, 16384)))
	s := v.openStore(t)
	h := newHerd(t, s, n)
	var version, current atomic.Int64 // the present version, and how many sets of it were opened
	version.Store(1)
	group, err := reveals.New(reveals.Config{
		Vaults: []string{v.Addr}, Agents: h.agents, Spread: 5 * time.Second,
		Opened: func(_ int, set api.Snapshot) {
			if len(set.Bound) == 1 && set.Bound[0].Version == version.Load() {
				current.Add(1)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { group.Run(ctx); close(ended) }()
	defer func() { stop(); <-ended }()
	converged := func() bool {
		return int(current.Load()) >= n && group.Counts().Waiting == n && int(v.metric(t, "miosa_vault_waiting_reveals", "")) == n
	}
	poll.Until(t, 5*time.Minute, "all agents wait", converged)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		v.stop(signal)
		current.Store(0)
		h.rotate(t, s, version.Add(1))
		v.serve(t, v.Addr)
		before, began := group.Counts(), time.Now()
		machine, own := processorTime(t, "/proc/stat"), ownTime(t, v, nil)
		poll.Within(reconnectWithin, converged)
		took, after := time.Since(began), group.Counts()
		share := others(processorTime(t, "/proc/stat")-machine, ownTime(t, v, nil)-own, took)
		late := n - min(n, int(current.Load()), after.Waiting)
		errors := late + after.Unopened - before.Unopened + after.Backwards - before.Backwards
		for status, count := range after.Refused {
			errors += count - before.Refused[status]
		}
		t.Logf("%s: after %s %d of %d agents are current and wait; %d errors, statuses %v, %d connections failed; others use %.0f %% of the processors",
			signal, took.Round(time.Millisecond), n-late, n, errors, after.Refused, after.Failed-before.Failed, 100*share)
		switch {
		case float64(errors) <= reconnectErrors*float64(n):
		case errors == late && share > busy:
			t.Log("other programs use the processors too: how many agents are late isn't judged")
			poll.Until(t, 5*time.Minute, "all agents are current and wait", converged)
		default:
			t.Errorf("%s: %d errors of %d agents: %q", signal, errors, n, after.Errors)
		}
	}
}
