package replicatest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

const (
	rotators     = 4 // each rotates a secret of its own
	readers      = 4 // each reveals all of them
	killsOfEach  = 10
	killsOnShort = 30 // of vaults, unless MIOSA_FAULT_KILLS says another number
)

// rotated is a secret that one client rotates, at any vault.
type rotated struct {
	name     string
	id       string
	answered atomic.Int64 // the newest version that an answer has named
	sent     atomic.Int64 // the number of values that were sent: no version is higher
	values   sync.Map     // of versions that answers have named: their values
}

// watched are secrets of a sandbox that clients rotate and reveal while vaults and the database fail.
type watched struct {
	*testing.T
	vaults  [replicas]*vault
	sandbox api.Resource
	tenant  api.Key
	key     api.Key // of the sandbox
	secrets [rotators]*rotated
	reveals atomic.Int64
}

// watch creates the secrets.
func watch(t *testing.T, c *cluster) *watched {
	t.Helper()
	w := &watched{T: t, vaults: c.Vaults, sandbox: api.Resource{Type: api.Sandbox, ID: "sb_1"}, tenant: c.Key(t, "acme")}
	owner := dial(t, c.Vaults[0], w.tenant)
	for i := range w.secrets {
		r := &rotated{name: fmt.Sprint("SECRET_", i)}
		value := api.NewValue([]byte(r.next()))
		secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: r.name, Value: value, Resource: w.sandbox, ExposeAsEnv: r.name})
		if err != nil {
			t.Fatal(err)
		}
		r.id = secret.ID
		r.accept(secret.Version, value.Reveal())
		w.secrets[i] = r
	}
	w.key = resourceKey(t, owner, w.sandbox).key
	return w
}

// resourceKey returns a new key of a resource.
func resourceKey(t *testing.T, owner *fetch.Client, of api.Resource) issued {
	t.Helper()
	made, err := owner.CreateResourceKey(t.Context(), of, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(made.Key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{made.ID, key}
}

// next returns the next value to send.
func (r *rotated) next() string { return fmt.Sprint(r.name, " ", r.sent.Add(1)) }

func (r *rotated) accept(version int64, value string) {
	r.values.Store(version, value)
	r.answered.Store(version)
}

// dialAll returns a client of each vault.
func (w *watched) dialAll(key api.Key) (all [replicas]*fetch.Client) {
	for i, v := range w.vaults {
		all[i] = dial(w.T, v, key)
	}
	return all
}

// rotate rotates a secret until ctx ends.
func (w *watched) rotate(ctx context.Context, r *rotated) {
	owners := w.dialAll(w.tenant)
	for ctx.Err() == nil {
		value := r.next()
		secret, err := owners[rand.IntN(replicas)].RotateSecret(w.Context(), r.id, fetch.Rotation{Value: api.NewValue([]byte(value))})
		switch {
		case err == nil:
			r.accept(secret.Version, value)
		case !api.Temporary(err):
			w.Errorf("rotate: %v", err)
			return
		}
		after(ctx, rand.N(20*time.Millisecond))
	}
}

// read reveals the set until ctx ends, at any vault; every second time it waits for a change.
func (w *watched) read(ctx context.Context) {
	agents := w.dialAll(w.key)
	etag, seen := "", map[string]int64{}
	for n := 0; ctx.Err() == nil; n++ {
		var answered [rotators]int64
		for i, r := range w.secrets {
			answered[i] = r.answered.Load()
		}
		known := ""
		if n%2 == 1 {
			known = etag
		}
		set, err := agents[rand.IntN(replicas)].Reveal(ctx, w.sandbox, known, time.Second)
		if err == nil {
			etag = set.Etag
			w.check(set, answered, seen)
		} else if !api.Temporary(err) && ctx.Err() == nil && !isNotModified(err) {
			w.Errorf("reveal: %v", err)
			return
		}
		after(ctx, rand.N(20*time.Millisecond))
	}
}

// check checks a set that was revealed when the answered versions were known, and the seen ones to this client.
func (w *watched) check(set api.Snapshot, answered [rotators]int64, seen map[string]int64) {
	w.reveals.Add(1)
	if len(set.Bound) != rotators {
		w.Errorf("%d secrets are revealed, want %d", len(set.Bound), rotators)
		return
	}
	for i, b := range set.Bound { // sorted by name
		r := w.secrets[i]
		if b.Version < seen[r.name] {
			w.Errorf("%s: version %d after version %d", r.name, b.Version, seen[r.name])
		}
		if b.Version < answered[i] || b.Version > r.sent.Load() {
			w.Errorf("%s: version %d, but %d was answered before, and at most %d was sent", r.name, b.Version, answered[i], r.sent.Load())
		}
		if want, ok := r.values.Load(b.Version); ok && want != b.Value.Reveal() {
			w.Errorf("%s: version %d has a value that was sent for another", r.name, b.Version)
		}
		seen[r.name] = b.Version
	}
}

// end waits until each vault reveals a set, and checks it.
func (w *watched) end() {
	w.Helper()
	for _, agent := range w.dialAll(w.key) {
		var answered [rotators]int64
		for i, r := range w.secrets {
			answered[i] = r.answered.Load()
		}
		var set api.Snapshot
		var err error
		if !poll.Within(patience, func() bool { set, err = agent.Reveal(w.Context(), w.sandbox, "", 0); return err == nil }) {
			w.Fatalf("a vault doesn't recover: %v", err)
		}
		w.check(set, answered, map[string]int64{})
	}
}

// under runs clients while do runs.
func (w *watched) under(do func() error) {
	w.Helper()
	ctx, stop := context.WithCancel(w.Context())
	var running sync.WaitGroup
	for _, r := range w.secrets {
		running.Go(func() { w.rotate(ctx, r) })
	}
	for range readers {
		running.Go(func() { w.read(ctx) })
	}
	err := do()
	stop()
	running.Wait()
	if err != nil {
		w.Fatal(err)
	}
	w.end()
}

// Vaults are killed at random moments, and now and then the database: no acknowledged change is lost, and no client sees an older
// version after a newer one.
func TestFault_V1_KillsOnThreeReplicas(t *testing.T) {
	needs.Long(t, "kills three vaults many times")
	t.Parallel()
	kills := needs.Number(t, "MIOSA_FAULT_KILLS", killsOnShort)
	c := start(t, config{})
	w := watch(t, c)
	began := time.Now()
	w.under(func() error {
		for n := range kills {
			after(t.Context(), rand.N(100*time.Millisecond))
			v := c.Vaults[rand.IntN(replicas)]
			v.Kill()
			if n%killsOfEach == killsOfEach-1 {
				after(t.Context(), rand.N(200*time.Millisecond))
				if err := c.restart(); err != nil {
					return err
				}
			}
			if err := v.Start(); err != nil {
				return err
			}
			if t.Failed() {
				return fmt.Errorf("after %d kills", n+1)
			}
		}
		return nil
	})
	versions := int64(0)
	for _, r := range w.secrets {
		versions += r.answered.Load()
	}
	t.Logf("%d kills of vaults and %d of the database in %s; %d versions, %d reveals", kills, kills/killsOfEach,
		time.Since(began).Round(time.Second), versions, w.reveals.Load())
	if versions < int64(kills) {
		t.Errorf("only %d rotations during %d kills", versions, kills)
	}
}
