package replicatest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// fault is something that fails for a while.
type fault struct {
	name   string
	pauses bool // for as long as run is told
	run    func(t *testing.T, c *cluster, pause time.Duration) error
}

// after waits.
func after(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// faults are those of a cluster with a standby. Each ends with everything running again, and with the standby up to date: what was
// committed before a crash is visible after it, also if the standby doesn't have it.
var faults = []fault{
	{"a vault is killed", false, func(_ *testing.T, c *cluster, _ time.Duration) error {
		v := c.Vaults[rand.IntN(replicas)]
		v.Kill()
		return v.Start()
	}},
	{"a vault is stopped for a while", true, func(t *testing.T, c *cluster, pause time.Duration) error {
		v := c.Vaults[rand.IntN(replicas)]
		if err := v.Pause(); err != nil {
			return err
		}
		after(t.Context(), pause)
		return v.Resume()
	}},
	{"the database is killed", false, func(t *testing.T, c *cluster, _ time.Duration) error {
		if err := c.restart(); err != nil {
			return err
		}
		return c.Primary.Synced(t.Context())
	}},
	{"the database shuts down immediately", false, func(t *testing.T, c *cluster, _ time.Duration) error {
		if err := c.Primary.Quit(); err != nil {
			return err
		}
		if err := c.Primary.Start(); err != nil {
			return err
		}
		return c.Primary.Synced(t.Context())
	}},
	{"the database is stopped for a while", true, func(t *testing.T, c *cluster, pause time.Duration) error {
		if err := c.Primary.Pause(); err != nil {
			return err
		}
		after(t.Context(), pause)
		c.Primary.Resume()
		return nil
	}},
	{"a vault is cut off from the database", true, func(t *testing.T, c *cluster, pause time.Duration) error {
		v := c.Vaults[rand.IntN(replicas)]
		if err := v.Cut(); err != nil {
			return err
		}
		after(t.Context(), pause)
		v.Heal()
		return nil
	}},
	{"all vaults are cut off from the database", true, func(t *testing.T, c *cluster, pause time.Duration) error {
		for _, v := range c.Vaults {
			if err := v.Cut(); err != nil {
				return err
			}
		}
		after(t.Context(), pause)
		for _, v := range c.Vaults {
			v.Heal()
		}
		return nil
	}},
	{"the database is killed while commits wait for the standby", false, func(t *testing.T, c *cluster, _ time.Duration) error {
		return c.whileCommitsWait(t, func() {}, c.restart)
	}},
	{"connections break while commits wait for the standby", false, func(t *testing.T, c *cluster, _ time.Duration) error {
		return c.whileCommitsWait(t, func() {}, c.breakConnections)
	}},
}

// restart kills the database and starts it again.
func (c *cluster) restart() error {
	if err := c.Primary.Kill(); err != nil {
		return err
	}
	return c.Primary.Start()
}

// breakConnections ends all connections between vaults and database.
func (c *cluster) breakConnections() error {
	for _, v := range c.Vaults {
		if err := v.Break(); err != nil {
			return err
		}
	}
	return nil
}

// whileCommitsWait stops the standby for a moment, and meanwhile calls commit, and later end. What commits then is committed, and no
// vault knows.
func (c *cluster) whileCommitsWait(t *testing.T, commit func(), end func() error) error {
	if err := c.Standby.Pause(); err != nil {
		return err
	}
	commit()
	after(t.Context(), 500*time.Millisecond)
	err := end()
	after(t.Context(), 500*time.Millisecond)
	c.Standby.Resume()
	if err != nil {
		return err
	}
	return c.Primary.Synced(t.Context())
}

// takeover leaves a cluster without a standby.
var takeover = fault{"the standby takes over", false, func(t *testing.T, c *cluster, _ time.Duration) error { return c.Failover(t.Context()) }}

// recovered waits until each vault stores something.
func (w *workload) recovered(after string) {
	w.Helper()
	for i, v := range w.vaults {
		owner, err := fetch.New(fetch.Config{BaseURL: v.URL(), Key: w.tenant, Timeout: callTimeout})
		if err != nil {
			w.Fatal(err)
		}
		began := time.Now()
		if !poll.Within(2*patience, func() bool {
			_, _, err = owner.PutSecret(w.Context(), api.NewSecret{Name: "probe", Value: api.NewValue([]byte("x"))})
			return err == nil
		}) {
			w.Fatalf("%s: vault %d doesn't recover: %v", after, i, err)
		}
		w.Logf("%s: %s: vault %d stores again after %s", time.Since(w.began).Round(10*time.Millisecond), after, i, time.Since(began).Round(10*time.Millisecond))
		owner.Close()
	}
}

// verify checks the histories of all sandboxes, after end. It returns those without an order of their calls.
func (w *workload) verify() (wrong []*sandbox) {
	w.Helper()
	began, calls := time.Now(), 0
	for _, s := range w.all {
		calls += len(s.history)
		switch check(s.history, patience) {
		case porcupine.Illegal:
			wrong = append(wrong, s)
		case porcupine.Unknown:
			w.Errorf("%s: no order of %d calls, %d of them without an answer, was found in %s", s.ID, len(s.history), s.lost, patience)
		}
	}
	w.Logf("%d calls about %d sandboxes, checked in %s: %v", calls, len(w.all), time.Since(began).Round(time.Millisecond), w.results())
	return wrong
}

// results returns how often there was which result.
func (w *workload) results() map[string]int64 {
	all := map[string]int64{}
	w.counts.Range(func(what, n any) bool { all[what.(string)] = n.(*atomic.Int64).Load(); return true })
	return all
}

// linearizable ends the clients, and fails the test with the histories that have no order.
func (w *workload) linearizable() {
	w.Helper()
	w.end()
	for _, s := range w.verify() {
		w.Errorf("the calls about %s have no order:\n%s", s.ID, text(s.history))
	}
	results := w.results()
	for _, a := range []action{setSecret, rotateSecret, deleteSecret, getSecret, bindSecret, unbindSecret, revokeKey, revealSet} {
		if results[string(a)] == 0 {
			w.Errorf("no %s has succeeded", a)
		}
	}
	w.noticesStaleRead()
}

// noticesStaleRead replaces the result of the last reveal of a history by that of an earlier one.
func (w *workload) noticesStaleRead() {
	w.Helper()
	for _, s := range w.all {
		last := len(s.history) - 1
		newest := s.history[last]
		for _, o := range s.history {
			out := o.Output.(output)
			if o.Input.(input).action != revealSet || out.result != succeeded || !older(out.secrets, newest.Output.(output).secrets) {
				continue
			}
			stale := slices.Clone(s.history)
			stale[last].Output = out
			if check(stale, patience) != porcupine.Illegal {
				w.Errorf("a stale read wasn't noticed:\n%s", text(stale))
			}
			return
		}
	}
	w.Error("no set was revealed in two versions")
}

// older reports whether a secret of a set has an earlier version than the same one of another set.
func older(set, other [2]secretState) bool {
	return slices.ContainsFunc([]int{0, 1}, func(i int) bool {
		return set[i].id != "" && set[i].id == other[i].id && set[i].version < other[i].version
	})
}

// seconds returns how long a test with faults goes on, from MIOSA_FAULT_SECONDS; 0: until each fault came once.
func seconds(t *testing.T) time.Duration {
	t.Helper()
	return time.Duration(needs.Number(t, "MIOSA_FAULT_SECONDS", 0)) * time.Second
}

func start(t *testing.T, c config) *cluster {
	t.Helper()
	var err error
	if c.Program, err = build(); err != nil {
		t.Fatal(err)
	}
	return startCluster(t, c)
}

// Twenty clients use three vaults while vaults and the database are killed, stopped and cut off, and a standby takes over: the
// results of all calls are those of one vault that never fails.
func TestFault_V5_LinearizableUnderFaults(t *testing.T) {
	needs.Long(t, "three vaults run with faults for a while")
	t.Parallel()
	c := start(t, config{Standby: true})
	w := startWorkload(t, c)
	long, began := seconds(t), time.Now()
	pause := 2 * time.Second
	if long > 0 {
		pause = 30 * time.Second
	}
	for {
		order := slices.Clone(faults)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, f := range append(order, takeover) {
			after(t.Context(), 500*time.Millisecond)
			if err := f.run(t, c, pause); err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
			w.recovered(f.name)
		}
		if time.Since(began) >= long {
			break
		}
		if err := c.AddStandby(t); err != nil {
			t.Fatal(err)
		}
	}
	w.linearizable()
}

// With a database that acknowledges what it hasn't written yet, a crash loses acknowledged changes: the check notices.
func TestFault_V5_AsynchronousCommitIsDetected(t *testing.T) {
	needs.Long(t, "three vaults run with faults for a while")
	t.Parallel()
	c := start(t, config{Options: "synchronous_commit=off", Settings: []string{"wal_writer_delay=10s"}})
	const tries = 5
	for range tries {
		w := startWorkload(t, c)
		after(t.Context(), time.Second)
		if err := c.restart(); err != nil {
			t.Fatal(err)
		}
		w.recovered("the database is killed")
		w.end()
		if len(w.verify()) > 0 {
			return
		}
	}
	t.Error("no violation was found")
}

// A change whose commit has no answer isn't made a second time: the answer is an error that doesn't call it undone. Reveals that
// wait get it when it was made.
func TestFault_V5_CommitWithoutAnswer(t *testing.T) {
	needs.Long(t, "three vaults run with faults for a while")
	t.Parallel()
	c := start(t, config{Standby: true})
	owner := dial(t, c.Vaults[0], c.Key(t, "acme"))
	box := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("1")), Resource: box, ExposeAsEnv: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	made, err := owner.CreateResourceKey(t.Context(), box, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(made.Key)
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for _, broken := range []func() error{c.restart, c.breakConnections} {
		for i := range 2 {
			agent := dial(t, c.Vaults[i], key)
			set, err := agent.Reveal(t.Context(), box, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			waiting.Go(func() {
				var next api.Snapshot
				var err error
				poll.Within(patience, func() bool {
					next, err = agent.Reveal(t.Context(), box, set.Etag, 30*time.Second)
					return err == nil || errors.Is(err, api.ErrNotModified)
				})
				if err != nil {
					t.Errorf("a wait at vault %d: %v", i, err)
				} else if next.Bound[0].Version != set.Bound[0].Version+1 {
					t.Errorf("a wait at vault %d got version %d after %d", i, next.Bound[0].Version, set.Bound[0].Version)
				}
			})
		}
		done := make(chan error)
		err := c.whileCommitsWait(t, func() {
			go func() {
				_, err := owner.RotateSecret(t.Context(), secret.ID, fetch.Rotation{Value: api.NewValue([]byte("2"))})
				done <- err
			}()
		}, broken)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, api.ErrUnavailable) {
			t.Errorf("the answer to a change without one: %v", err)
		}
		waiting.Wait()
		now, err := owner.Secret(t.Context(), secret.ID)
		if err != nil || now.Version != secret.Version+1 {
			t.Errorf("version %d after one rotation of version %d, %v", now.Version, secret.Version, err)
		}
		secret = now
	}
}

// Until the standby has a change, nobody sees it, also if the vault that made it has lost its connections: the standby may take over.
func TestFault_V5_TakeoverWithoutACommit(t *testing.T) {
	needs.Long(t, "three vaults run with faults for a while")
	t.Parallel()
	c := start(t, config{Standby: true})
	key := c.Key(t, "acme")
	owner, other := dial(t, c.Vaults[0], key), dial(t, c.Vaults[1], key)
	secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("1"))})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Standby.Kill(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := owner.RotateSecret(t.Context(), secret.ID, fetch.Rotation{Value: api.NewValue([]byte("2"))})
		done <- err
	}()
	after(t.Context(), 500*time.Millisecond)
	if err := c.Vaults[0].Break(); err != nil {
		t.Fatal(err)
	}
	after(t.Context(), 500*time.Millisecond)
	before, err := other.Secret(t.Context(), secret.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Standby.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("the answer to a change that the standby doesn't have: %v", err)
	}
	var now api.Secret
	poll.Until(t, patience, "the vault reads from the standby", func() bool { now, err = other.Secret(t.Context(), secret.ID); return err == nil })
	if now.Version < before.Version {
		t.Errorf("version %d after version %d", now.Version, before.Version)
	}
}

// dial returns a client of a vault.
func dial(t *testing.T, v *vault, key api.Key) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{BaseURL: v.URL(), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
