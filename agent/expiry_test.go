package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// expiring returns a set of TOKEN, which doesn't expire, and PASS, which does.
func expiring(version int64, after time.Duration) api.Snapshot {
	at := time.Now().UTC().Add(after).Round(0)
	return snapshot(version, api.Bound{
		Label: api.Label{ID: "bnd_2", SecretID: "sec_2", ExposeAsEnv: "PASS", Version: version, ExpiresAt: &at},
		Value: api.NewValue([]byte("brief")),
	})
}

// The engine drops a value when it expires, once, whatever state the vault is in.
func TestExpiryUnderAnAgent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		become func(*fakeVault) // before the expiry
		at     func(*fakeVault) // at the expiry
		state  agent.State
		named  []string
	}{
		{"the vault is down", func(v *fakeVault) { v.err = errDown }, nil, agent.Stale, []string{"PASS"}},
		{"the vault hangs", func(v *fakeVault) { v.hang = true }, nil, agent.Fresh, []string{"PASS"}},
		{"the vault's clock is behind", func(*fakeVault) {}, nil, agent.Fresh, []string{"PASS"}},
		{"the vault drops it just before", func(*fakeVault) {}, func(v *fakeVault) { v.set = snapshot(1) }, agent.Fresh, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state", "set")
			synctest.Test(t, func(t *testing.T) {
				vault, out := newFakeVault(expiring(1, 20*time.Second)), &fakeOutput{name: "out"}
				full := vault.set.Etag
				conf := agent.Config{Source: vault, Cache: cacheAt(t, path, someKey), Outputs: []agent.Output{out}}
				runAgent(t, conf, func(t *testing.T, a *agent.Engine) {
					time.Sleep(10 * time.Second)
					vault.become(tt.become)
					time.Sleep(10*time.Second - time.Nanosecond)
					if set, s := a.Snapshot(); len(set.Bound) != 2 || s.Etag != full || s.Expired != nil {
						t.Fatalf("just before the expiry: %d values, expired %v", len(set.Bound), s.Expired)
					}
					waited := make(chan api.Snapshot, 1)
					go func() {
						set, _ := a.Wait(t.Context(), full)
						waited <- set
					}()
					if tt.at != nil {
						vault.become(tt.at)
					}
					time.Sleep(time.Nanosecond)
					set, s := a.Snapshot()
					if len(set.Bound) != 1 || s.Etag != snapshot(1).Etag || s.State != tt.state || s.Bindings != 1 {
						t.Errorf("at the expiry: %s, %d values", s.State, len(set.Bound))
					}
					if diff := cmp.Diff(s.Expired, tt.named); diff != "" {
						t.Errorf("expired (-got +want):\n%s", diff)
					}
					synctest.Wait()
					if set := <-waited; len(set.Bound) != 1 {
						t.Errorf("Wait returned %d values", len(set.Bound))
					}
					if diff := cmp.Diff(out.read(), []string{"TOKEN=canary-1 PASS=brief", "TOKEN=canary-1"}); diff != "" {
						t.Errorf("written (-got +want):\n%s", diff)
					}
					time.Sleep(time.Second)
					if set, _, err := cacheAt(t, path, someKey).Load(); err != nil || len(set.Bound) != 1 || set.Etag != snapshot(1).Etag {
						t.Errorf("cached: %d values, %v", len(set.Bound), err)
					}

					// The vault is available again and does not have the value either: no further change.
					changes := a.Status().Counts.Changes
					vault.become(func(v *fakeVault) { v.err, v.hang, v.set = nil, false, snapshot(1) })
					time.Sleep(2 * time.Minute)
					if s := a.Status(); s.State != agent.Fresh || s.Counts.Changes != changes || len(out.read()) != 2 {
						t.Errorf("after the vault has dropped it too: %s, %d changes after %d, written %q", s.State, s.Counts.Changes, changes, out.read())
					}
					// A newer value is used.
					vault.rotate(expiring(2, time.Hour))
					time.Sleep(time.Second)
					if set, s := a.Snapshot(); len(set.Bound) != 2 || s.Expired != nil || first(set) != "canary-2" {
						t.Errorf("a newer value: %d values, expired %v", len(set.Bound), s.Expired)
					}
				})
			})
		})
	}
}

// Each value is dropped at its own time. A vault with a slow clock that keeps returning an expired value gets no
// additional requests.
func TestExpiryOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := time.Now().UTC().Add(40 * time.Second).Round(0)
		set := expiring(1, 20*time.Second)
		set.Bound[0].ExpiresAt = &later
		set.Etag = api.Etag(sandbox, []api.Label{set.Bound[0].Label, set.Bound[1].Label})
		vault, out := newFakeVault(set), &fakeOutput{name: "out"}
		runAgent(t, agent.Config{Source: vault, Outputs: []agent.Output{out}}, func(t *testing.T, a *agent.Engine) {
			time.Sleep(5 * time.Minute)
			if diff := cmp.Diff(out.read(), []string{"TOKEN=canary-1 PASS=brief", "TOKEN=canary-1", ""}); diff != "" {
				t.Errorf("written (-got +want):\n%s", diff)
			}
			if s := a.Status(); s.State != agent.Fresh || !slices.Equal(s.Expired, []string{"PASS", "TOKEN"}) {
				t.Errorf("%s, expired %v", s.State, s.Expired)
			}
			if n := len(vault.asked()); n > 8 {
				t.Errorf("%d requests in 5 minutes", n)
			}
			// A value that has expired by this machine's clock is not served if the vault returns it again.
			a.Wake("clock set")
			time.Sleep(time.Second)
			if set, s := a.Snapshot(); len(set.Bound) != 0 || s.State != agent.Fresh {
				t.Errorf("after a wake: %s, %d values", s.State, len(set.Bound))
			}
		})
	})
}

// Values that have expired aren't loaded from the cache.
func TestExpiryInTheCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "set")
	synctest.Test(t, func(t *testing.T) {
		must(t, cacheAt(t, path, someKey).Save(expiring(1, time.Second), time.Now()))
		time.Sleep(2 * time.Second)
		set, at, err := cacheAt(t, path, someKey).Load()
		must(t, err)
		if len(set.Bound) != 1 || set.Etag != snapshot(1).Etag || time.Since(at) != 2*time.Second {
			t.Errorf("%d values, confirmed %s ago", len(set.Bound), time.Since(at))
		}
		vault, out := newFakeVault(snapshot(1)), &fakeOutput{name: "out"}
		vault.err = errDown
		runAgent(t, agent.Config{Source: vault, Cache: cacheAt(t, path, someKey), Outputs: []agent.Output{out}}, func(t *testing.T, a *agent.Engine) {
			time.Sleep(10 * time.Second)
			expect(t, a, "cached", summary{agent.Stale, agent.FromCache, "canary-1", 12 * time.Second, "not ready"})
			if diff := cmp.Diff(out.read(), []string{"TOKEN=canary-1"}); diff != "" {
				t.Errorf("written (-got +want):\n%s", diff)
			}
		})
	})
}

// A command that follows the vault loses expired values too, during a request and between two.
func TestExpiryUnderFollow(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error // of the vault during the expiry; nil: it hangs
	}{
		{"the vault hangs", nil},
		{"the vault is down", errDown},
		{"the vault is down for a long time", &api.Error{Kind: api.ErrUnavailable, Message: "not ready", RetryAfter: time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, back := expiring(1, 5*time.Second), make(chan struct{})
				began := time.Now()
				src := &source{next: func(ctx context.Context, _ int, etag string) (api.Snapshot, error) {
					if time.Since(began) > 50*time.Second { // the vault's set equals the rest
						if etag == snapshot(1).Etag {
							return never(ctx)
						}
						return copied(snapshot(1)), nil
					}
					if tt.err != nil {
						return api.Snapshot{}, tt.err
					}
					select {
					case <-back:
						return api.Snapshot{}, errors.New("broken off")
					case <-ctx.Done():
						return api.Snapshot{}, ctx.Err()
					}
				}}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				took := &sink{}
				ended := make(chan error, 1)
				go func() { ended <- follow(ctx, src, first, zerolog.Nop(), took) }()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				want := []string{"TOKEN=1:canary-1"}
				if diff := cmp.Diff(took.took, want); diff != "" {
					t.Errorf("at the expiry (-got +want):\n%s", diff)
				}
				time.Sleep(time.Minute)
				close(back)
				must(t, <-ended)
				if diff := cmp.Diff(took.took, want); diff != "" {
					t.Errorf("at the end (-got +want):\n%s", diff)
				}
			})
		})
	}
}

// The process of an agent is stopped when its value expires, while the vault is unavailable. When it continues, it
// doesn't serve the value.
func TestExpiryOfAPausedProcess(t *testing.T) {
	needs.Long(t, "ten seconds of real time until the expiry")
	v := vaulttest.Start(t)
	expires := time.Now().Add(8 * time.Second)
	v.PutSecret(t, map[string]any{
		"name": "token", "value": "brief", "resource_type": sandbox.Type, "resource_id": sandbox.ID, "expose_as_env": "TOKEN",
		"expires_at": expires,
	})
	p := spawn(t, agentVariable, agentProcess{BaseURL: v.BaseURL, KeyFile: keyFile(t, v.ResourceKey(t, sandbox))}, nil)
	p.await(t, time.Minute, "the value", serves("brief"))
	p.pause(t)
	v.Stop(t)
	time.Sleep(time.Until(expires) + time.Second)
	resumed := time.Now()
	must(t, p.Process.Signal(syscall.SIGCONT))
	for _, s := range p.await(t, time.Minute, "the end of the value", func(s served) bool { return s.Sum == "" }) {
		if s.Sum != "" && s.Asked.After(expires) { // a request from before the pause may be written after it
			t.Errorf("served %s after its expiry: %+v", s.Asked.Sub(expires), s)
		}
	}
	if took := time.Since(resumed); took > 5*time.Second {
		t.Errorf("removed after %s", took)
	}
}

// The cache is saved again without the value, although the vault can't confirm that.
func TestExpiryRewritesTheCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "set")
	synctest.Test(t, func(t *testing.T) {
		vault := newFakeVault(expiring(1, 20*time.Second))
		runAgent(t, agent.Config{Source: vault, Cache: cacheAt(t, path, someKey)}, func(t *testing.T, _ *agent.Engine) {
			time.Sleep(time.Second)
			vault.fail(errDown)
			before, err := os.ReadFile(path)
			must(t, err)
			time.Sleep(20 * time.Second)
			after, err := os.ReadFile(path)
			must(t, err)
			if strings.Contains(string(after), "PASS") || len(after) >= len(before) {
				t.Errorf("%d bytes, %d before", len(after), len(before))
			}
			_, at, err := cacheAt(t, path, someKey).Load()
			if must(t, err); time.Since(at) < 20*time.Second {
				t.Errorf("confirmed %s ago", time.Since(at))
			}
		})
	})
}

// skewed is a vault whose clock is known to be behind this machine's.
type skewed struct {
	*fakeVault
	ahead atomic.Int64
}

func (s *skewed) ClockSkew() (time.Duration, bool) { return time.Duration(s.ahead.Load()), true }

// On a machine with a wrong clock, a value expires at the vault's time.
func TestExpiryByTheVaultsClock(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute, 0, 2 * time.Second} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const life = 30 * time.Second
				at := life // by this machine's clock, including the tolerated skew
				if ahead.Abs() >= 5*time.Second {
					at = life - ahead
				}
				vault := &skewed{fakeVault: newFakeVault(expiring(1, at))}
				vault.ahead.Store(int64(ahead))
				runAgent(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
					time.Sleep(life - time.Second)
					if set, s := a.Snapshot(); len(set.Bound) != 2 {
						t.Errorf("just before the expiry: %d values, expired %v", len(set.Bound), s.Expired)
					}
					time.Sleep(time.Second)
					if set, s := a.Snapshot(); len(set.Bound) != 1 || len(s.Expired) != 1 {
						t.Errorf("at the expiry: %d values", len(set.Bound))
					}
				})
			})
		})
	}
}

// The same for a command that follows the vault.
func TestFollowByTheVaultsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life, ahead = 30 * time.Second, 10 * time.Minute
		vault := &skewed{fakeVault: newFakeVault(expiring(1, life-ahead))}
		vault.ahead.Store(int64(ahead))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		took, ended := &taken{more: make(chan struct{}, 1)}, make(chan error, 1)
		go func() { ended <- follow(ctx, vault, vault.set, zerolog.Nop(), took) }()
		time.Sleep(life - time.Second)
		synctest.Wait()
		if n := len(took.all()); n != 0 {
			t.Errorf("just before the expiry: %d sets", n)
		}
		must(t, <-ended)
		if sets := took.all(); len(sets) != 1 || len(sets[0].Bound) != 1 || first(sets[0]) != "canary-1" {
			t.Errorf("at the end: %d sets", len(sets))
		}
	})
}

// A value that was dropped because of a wrong clock is served again once the vault's time is known.
func TestExpiryCorrectedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vault := &skewed{fakeVault: newFakeVault(expiring(1, 20*time.Second))}
		runAgent(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
			time.Sleep(21 * time.Second)
			if set, _ := a.Snapshot(); len(set.Bound) != 1 {
				t.Fatalf("%d values", len(set.Bound))
			}
			vault.ahead.Store(int64(time.Hour))
			time.Sleep(2 * time.Minute)
			if set, s := a.Snapshot(); len(set.Bound) != 2 || s.Expired != nil {
				t.Errorf("%d values, expired %v", len(set.Bound), s.Expired)
			}
		})
	})
}
