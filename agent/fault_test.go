package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/tamper"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/rs/zerolog"
)

// Retry-After is obeyed, even during wakes and refreshes, up to a limit.
func TestFault_A6_RetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name       string
		asked      time.Duration
		least, top time.Duration // between the first two requests
	}{
		{"0", 0, 125 * time.Millisecond, 250 * time.Millisecond},
		{"garbage", -5 * time.Second, 125 * time.Millisecond, 250 * time.Millisecond},
		{"1", time.Second, time.Second, 2 * time.Second},
		{"30", 30 * time.Second, 30 * time.Second, 31 * time.Second},
		{"a date in half an hour", 30 * time.Minute, 30 * time.Minute, 30*time.Minute + time.Second},
		{"10^9", 1e9 * time.Second, time.Hour, time.Hour + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := newFakeVault(snapshot(1))
			vault.err = &api.Error{Kind: api.ErrRateLimited, Message: "slow down", RetryAfter: tt.asked}
			var wake func(string)
			watch := func(ctx context.Context, call func(string)) error { wake = call; <-ctx.Done(); return nil }
			runDaemon(t, agent.Config{Source: vault, Sleep: watch}, func(t *testing.T, a *agent.Engine) {
				time.Sleep(90 * time.Minute)
				seen := vault.asked()
				if len(seen) < 2 {
					t.Fatal("no second request")
				}
				if gap := seen[1].Sub(seen[0]); gap < tt.least || gap > tt.top {
					t.Errorf("second request after %s, want %s to %s", gap, tt.least, tt.top)
				}
				for i := 1; i < len(seen); i++ {
					if gap := seen[i].Sub(seen[i-1]); gap < min(max(tt.asked, 0), time.Hour) {
						t.Errorf("request %d came after %s", i+1, gap)
					}
				}
				// During wakes and refreshes too.
				for range 30 {
					wake("slept")
					began := time.Now()
					if err := a.Refresh(t.Context()); !errors.Is(err, api.ErrRateLimited) {
						t.Errorf("refresh: %v", err)
					} else if left, ok := errors.AsType[*api.Error](err); tt.asked > 0 && time.Since(began) == 0 &&
						(!ok || left.RetryAfter <= 0 || left.RetryAfter > min(tt.asked, time.Hour)) {
						t.Errorf("Refresh returned RetryAfter %s", left.RetryAfter)
					}
					time.Sleep(time.Second)
				}
				seen = vault.asked()
				for i := 1; i < len(seen); i++ {
					if gap := seen[i].Sub(seen[i-1]); gap < min(max(tt.asked, 0), time.Hour) {
						t.Errorf("request %d came after %s", i+1, gap)
					}
				}
				vault.fail(nil)
				time.Sleep(time.Hour + time.Second)
				expect(t, a, "in good time", summary{agent.Fresh, agent.FromVault, "canary-1", time.Duration(a.Status().Age) * time.Second, "slow down"})
			})
		})
	}
}

// During a pause requested by the vault, Refresh returns an error at once, a wake takes effect at its end, and a
// new key is used at once.
func TestRetryAfterWithRefresh(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	var wake func(string)
	watch := func(ctx context.Context, call func(string)) error { wake = call; <-ctx.Done(); return nil }
	runDaemon(t, agent.Config{Source: vault, Sleep: watch}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(time.Minute)
		busy := &api.Error{Kind: api.ErrRateLimited, Message: "slow down", RetryAfter: 30 * time.Second}
		vault.fail(busy)
		synctest.Wait()
		time.Sleep(5 * time.Second)
		n, drops := len(vault.asked()), vault.drops
		err := a.Refresh(t.Context())
		if want := "the vault asked to be left alone for another 25s: slow down"; err == nil || err.Error() != want {
			t.Errorf("refresh: %v, want %s", err, want)
		}
		wake("slept")
		vault.become(func(v *fakeVault) { v.set, v.err = snapshot(2), nil })
		time.Sleep(25*time.Second - time.Millisecond)
		if got := len(vault.asked()) - n; got != 0 {
			t.Errorf("%d requests before the end of the pause", got)
		}
		time.Sleep(time.Millisecond)
		expect(t, a, "woken, as soon as it may ask", summary{agent.Fresh, agent.FromVault, "canary-2", 0, "slow down"})
		if vault.drops != drops+1 {
			t.Errorf("connections dropped %d times", vault.drops-drops)
		}
		if err := a.Refresh(t.Context()); err != nil {
			t.Errorf("refresh after the pause: %v", err)
		}

		vault.fail(busy)
		synctest.Wait()
		next := newFakeVault(snapshot(3))
		a.Replace(next, nil)
		expect(t, a, "another key", summary{agent.Fresh, agent.FromVault, "canary-3", 0, "slow down"})
	})
}

// Half of all responses are 5xx for a virtual hour. Requests stay within the budget, rotations arrive, and afterwards the
// agent is fresh within the longest pause.
func TestFault_A7_HalfErrors(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	random := rand.New(rand.NewPCG(7, 7)) // the same in each run
	flaky := &source{next: func(ctx context.Context, _ int, etag string) (api.Snapshot, error) {
		if random.IntN(2) == 0 && time.Since(epoch) < time.Hour {
			vault.mu.Lock()
			defer vault.mu.Unlock()
			vault.seen, vault.troubled = append(vault.seen, time.Now()), true
			return api.Snapshot{}, errDown
		}
		return vault.Next(ctx, etag)
	}}
	runDaemon(t, agent.Config{Source: flaky}, func(t *testing.T, a *agent.Engine) {
		version := int64(1)
		for time.Since(epoch) < time.Hour-time.Minute {
			version++
			vault.rotate(snapshot(version))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if n, most := len(vault.asked()), int(time.Hour/budgetUnderFailures); n > most {
			t.Errorf("%d requests in an hour, want at most %d", n, most)
		}
		if got := a.Status().Counts.Changes; got < version*9/10 {
			t.Errorf("%d of %d rotations arrived", got, version)
		}
		time.Sleep(time.Minute) // past the hour
		vault.rotate(snapshot(version + 1))
		time.Sleep(30 * time.Second)
		expect(t, a, "recovered within one pause", summary{agent.Fresh, agent.FromVault, fmt.Sprintf("canary-%d", version+1), time.Duration(a.Status().Age) * time.Second, "not ready"})
	})
}

// epoch is the start of virtual time.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A vault is available and unavailable in turns of about a minute for 24 hours. Each value that stays long enough
// arrives, requests stay within the budget, and memory, goroutines and files do not grow. With -short it takes three hours.
func TestFlappingVault(t *testing.T) {
	whole := 24 * time.Hour
	if testing.Short() {
		whole /= 8
	}
	path := filepath.Join(t.TempDir(), "set")
	vault, out := newFakeVault(snapshot(1)), &fakeOutput{name: "out"}
	random := rand.New(rand.NewPCG(24, 24)) // the same in each run
	runDaemon(t, agent.Config{Source: vault, Cache: cacheAt(t, path, someKey), Outputs: outputs(out)}, func(t *testing.T, a *agent.Engine) {
		version, missed := int64(1), 0
		flap := func(long time.Duration) {
			for end := time.Now().Add(long); time.Now().Before(end); {
				switch random.IntN(4) {
				case 0:
					vault.fail(errDown)
				case 1:
					vault.fail(context.DeadlineExceeded)
				case 2:
					vault.become(func(v *fakeVault) { v.hang = true })
				}
				time.Sleep(time.Duration(random.Int64N(int64(2 * time.Minute))))
				version++
				vault.become(func(v *fakeVault) { v.set, v.err, v.hang = snapshot(version), nil, false })
				time.Sleep(31 * time.Second)
				if set, _ := a.Snapshot(); first(set) != fmt.Sprintf("canary-%d", version) {
					missed++
				}
			}
		}
		flap(time.Hour)
		goroutines, heap, regions := measure(t)
		asked := len(vault.asked())
		flap(whole)
		if n := runtime.NumGoroutine(); n > goroutines+2 {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
		vault.mu.Lock()
		n := len(vault.seen) - asked
		vault.seen = nil
		vault.mu.Unlock()
		out.mu.Lock()
		written := len(out.diary)
		out.diary = nil
		out.mu.Unlock()
		_, after, left := measure(t)
		if after > heap+256<<10 {
			t.Errorf("%d KiB on the heap, %d before", after>>10, heap>>10)
		}
		if left > regions+2 {
			t.Errorf("%d mappings of secret memory, %d before", left, regions)
		}
		if most := int(whole / budgetUnderFailures); n > most {
			t.Errorf("%d requests in %s, want at most %d", n, whole, most)
		}
		if missed > 0 {
			t.Errorf("%d of %d sets were missing 31 s after the vault was available again", missed, version)
		}
		if s := a.Status(); int64(written) > s.Counts.Changes+1 || s.Counts.Changes < version*9/10 {
			t.Errorf("%d writes, %d changes, %d versions", written, s.Counts.Changes, version)
		}
		if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
			t.Errorf("%d files beside the cache", len(entries)-1)
		}
		t.Logf("%d requests, %d KiB on the heap, %d goroutines", n, after>>10, runtime.NumGoroutine())
	})
}

// measure returns the number of goroutines, bytes on the heap, and mappings of secret memory, after a garbage collection.
func measure(t *testing.T) (goroutines int, heap uint64, regions int) {
	t.Helper()
	for range 4 {
		runtime.GC()
		time.Sleep(time.Second) // of virtual time, in which cleanups run
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	maps, _ := os.ReadFile("/proc/self/maps")
	return runtime.NumGoroutine(), m.HeapAlloc, bytes.Count(maps, []byte("secretmem"))
}

// A machine whose clock is off by years reports that. Durations aren't affected.
func TestFault_A8_WrongClock(t *testing.T) {
	cert, ca, _ := vaulttest.Certificate(t)
	v := vaulttest.Start(t, vaulttest.WithTLS(cert))
	v.Put(t, "token", "canary-1", sandbox, "TOKEN")
	key := v.ResourceKey(t, sandbox)
	now := time.Now()
	for _, tt := range []struct {
		name  string
		clock time.Time
		says  string
	}{
		{"ten years behind", now.AddDate(-10, 0, 0), "isn't valid yet"},
		{"right", now, ""},
		{"ten years ahead", now.AddDate(10, 0, 0), "has expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "set")
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(tt.clock)) // virtual
				client, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: key, CAFile: ca})
				must(t, err)
				defer client.Close()
				// Sealed while the clock was right, an hour ago.
				old := cacheAt(t, path, someKey)
				must(t, old.Save(snapshot(1), now.Add(-time.Hour)))
				a, err := agent.New(agent.Config{Resource: sandbox, Source: client.Source(sandbox), Cache: old})
				must(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- a.Run(ctx) }()
				err = a.Refresh(t.Context())
				if problem, ok := errors.AsType[*fetch.Problem](err); tt.says == "" && err != nil ||
					tt.says != "" && (!ok || problem.Reason != fetch.Clock || !strings.Contains(err.Error(), tt.says)) {
					t.Errorf("error %v, want %q", err, tt.says)
				}
				s := a.Status()
				if tt.says == "" {
					if s.State != agent.Fresh {
						t.Errorf("state %s", s.State)
					}
				} else if s.State != agent.Starting || !strings.Contains(s.LastHint, "clock") {
					t.Errorf("state %s, hint %q: a cache of unknown age was used, or the hint doesn't name the clock", s.State, s.LastHint)
				}
				if tt.says != "" {
					if _, _, err := old.Load(); err == nil || !strings.Contains(err.Error(), "the cache is too old") && !strings.Contains(err.Error(), "the cache is from the future") {
						t.Errorf("cache: %v", err)
					}
				}
				cancel()
				must(t, <-ended)
			})
		})
	}
}

// A request to a vault that accepts connections and sends nothing, or too little, times out within 10 s. The cached set
// is served within one.
func TestFault_A4_HungServer(t *testing.T) {
	drip := func(c net.Conn, text string) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
		_, _ = io.Copy(io.Discard, c)
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
	for _, tt := range []struct {
		name  string
		serve func(c net.Conn)
	}{
		{"accepts and hangs", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"slow headers", func(c net.Conn) { drip(c, head) }},
		{"slow body", func(c net.Conn) { _, _ = io.WriteString(c, head); drip(c, strings.Repeat(" ", 5000)) }},
		{"stops in the body", func(c net.Conn) {
			_, _ = io.WriteString(c, head+`{"etag":"`)
			_, _ = io.Copy(io.Discard, c)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer func() { _ = l.Close() }()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer func() { _ = c.Close() }(); tt.serve(c) }()
				}
			}()
			path := filepath.Join(t.TempDir(), "set")
			must(t, cacheAt(t, path, someKey).Save(snapshot(3), time.Now().Add(-time.Hour)))
			a, stop := realAgent(t, "http://"+l.Addr().String(), someKey, agent.Config{Cache: cacheAt(t, path, someKey)})
			defer stop()
			began := time.Now()
			set, err := a.Wait(t.Context(), "")
			if took := time.Since(began); err != nil || first(set) != "canary-3" || took > time.Second {
				t.Errorf("cached start: error %v after %s", err, took)
			}
			if s := a.Status(); s.State != agent.Stale || s.Origin != agent.FromCache || s.Age < 3600 {
				t.Errorf("state %s from %s, age %v", s.State, s.Origin, s.Age)
			}
			poll.Until(t, 15*time.Second, "the request times out", func() bool { return a.Status().Counts.Failures > 0 })
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("timed out after %s", took)
			}
		})
	}
	// The agent's own timeout applies even if the source ignores its context.
	t.Run("a source that hangs", func(t *testing.T) {
		vault := newFakeVault(snapshot(1))
		vault.hang = true
		runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
			time.Sleep(10 * time.Second)
			expect(t, a, "given up", summary{State: agent.Starting, Error: "the vault didn't answer in time"})
		})
	})
}

// A vault begins to refuse with 401 or 403 while an agent runs. Within 5 s values, cache and outputs are removed, and the
// socket refuses. If the vault accepts the key again, all are back.
func TestFault_A9_RefusedMidRun(t *testing.T) {
	t.Parallel() // most of it is waiting
	for _, tt := range []struct {
		name   string
		kind   *api.Kind
		refuse func(t *testing.T, v *vaulttest.Server, p *tamper.Proxy, keyID string)
		again  func(t *testing.T, v *vaulttest.Server, p *tamper.Proxy, a *agent.Engine, path string)
	}{
		{
			name: "401: the key is revoked", kind: api.ErrUnauthorized,
			refuse: func(t *testing.T, v *vaulttest.Server, _ *tamper.Proxy, keyID string) { v.Revoke(t, keyID) },
			again: func(t *testing.T, v *vaulttest.Server, _ *tamper.Proxy, a *agent.Engine, path string) {
				key := v.ResourceKey(t, sandbox)
				client, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: key})
				must(t, err)
				t.Cleanup(client.Close)
				cache, err := cache.New(cache.Config{Path: path, Key: key, Resource: sandbox})
				must(t, err)
				a.Replace(client.Source(sandbox), cache)
			},
		},
		{
			name: "403: the key isn't this resource's any more", kind: api.ErrDenied,
			refuse: func(_ *testing.T, _ *vaulttest.Server, p *tamper.Proxy, _ string) { p.Deny(true) },
			again: func(t *testing.T, _ *vaulttest.Server, p *tamper.Proxy, a *agent.Engine, _ string) {
				p.Deny(false)
				must(t, a.Refresh(t.Context()))
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := vaulttest.Start(t)
			v.Put(t, "token", "canary-1", sandbox, "TOKEN")
			p := tamper.New(t, v.BaseURL)
			key, id := v.MintResourceKey(t, sandbox)
			path, out := filepath.Join(t.TempDir(), "set"), &fakeOutput{name: "out", keep: true}
			cache, err := cache.New(cache.Config{Path: path, Key: key, Resource: sandbox})
			must(t, err)
			log := &buffer.Buffer{}
			a, stop := realAgent(t, p.BaseURL, key.Reveal(), agent.Config{Cache: cache, Outputs: outputs(out), Log: zerolog.New(log)})
			defer stop()
			socket := agenttest.Serve(t, a, peer.List{}).Dial(t).Source(sandbox, "")
			held, err := a.Wait(t.Context(), "")
			must(t, err)
			poll.Until(t, 20*time.Second, "cache and output are written", func() bool {
				_, err := os.Stat(path)
				return err == nil && slices.Equal(out.read(), []string{"TOKEN=canary-1"})
			})
			if set, err := socket.Next(t.Context(), ""); err != nil || first(set) != "canary-1" {
				t.Fatalf("the socket's response: %v", err)
			}
			waiting, client := make(chan error, 1), make(chan error, 1)
			go func() { _, err := a.Wait(t.Context(), held.Etag); waiting <- err }()
			go func() { _, err := socket.Next(t.Context(), held.Etag); client <- err }()

			began := time.Now()
			tt.refuse(t, v, p, id)
			if err := <-waiting; !errors.Is(err, tt.kind) {
				t.Errorf("Wait returned %v", err)
			}
			if err := <-client; !errors.Is(err, api.ErrUnauthorized) {
				t.Errorf("the waiting client received %v", err)
			}
			poll.Until(t, 20*time.Second, "everything is removed", func() bool {
				_, err := os.Stat(path)
				return errors.Is(err, os.ErrNotExist) && slices.Equal(out.read(), []string{"TOKEN=canary-1", "removed"}) && held.Bound[0].Value.Len() == 0
			})
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("removed after %s", took)
			}
			if n := strings.Count(log.String(), "key refused: "); n != 1 {
				t.Errorf("the refusal was logged %d times", n)
			}
			set, s := a.Snapshot()
			if s.State != agent.Refused || len(set.Bound) != 0 || s.Bindings != 0 || s.Etag != "" {
				t.Errorf("state %s, %d values", s.State, len(set.Bound))
			}
			if err := a.Refresh(t.Context()); !errors.Is(err, tt.kind) {
				t.Errorf("refresh: %v", err)
			}
			if set, err := socket.Next(t.Context(), ""); !errors.Is(err, api.ErrUnauthorized) || len(set.Bound) != 0 {
				t.Errorf("the socket's response: %v", err)
			}

			tt.again(t, v, p, a, path)
			poll.Until(t, 20*time.Second, "everything is restored", func() bool {
				_, err := os.Stat(path)
				return err == nil && a.Status().State == agent.Fresh && len(out.read()) == 3
			})
			if set, err := socket.Next(t.Context(), ""); err != nil || first(set) != "canary-1" {
				t.Errorf("the socket's response after the key is accepted again: %v", err)
			}
		})
	}
}

// realAgent runs an agent against a real server until stop.
func realAgent(t *testing.T, base, key string, conf agent.Config, opts ...func(*fetch.Config)) (a *agent.Engine, stop func()) {
	t.Helper()
	parsed, err := api.ParseKey(key)
	must(t, err)
	to := fetch.Config{BaseURL: base, Key: parsed}
	for _, opt := range opts {
		opt(&to)
	}
	client, err := fetch.New(to)
	must(t, err)
	conf.Resource, conf.Source = sandbox, client.Source(sandbox)
	if os.Getenv("MIOSA_TEST_LOG") != "" {
		conf.Log = zerolog.New(os.Stderr)
	}
	a, err = agent.New(conf)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return a, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		client.Close()
	}
}

// held is a source that takes a while to say something about its new set.
type held struct {
	*fakeVault
	hold atomic.Bool
}

func (h *held) Placeholders() bool {
	if h.hold.Swap(false) {
		time.Sleep(3 * wipeAfter)
	}
	return false
}

// wipeAfter is how long after a refusal values in use are wiped.
const wipeAfter = time.Second

// The values of a refused key that are still in use are wiped, and not those of a set that comes meanwhile.
func TestAcceptedWhileWiping(t *testing.T) {
	vault := &held{fakeVault: newFakeVault(snapshot(1))}
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		synctest.Wait()
		old, _ := a.Snapshot()
		vault.fail(errRevoked)
		synctest.Wait()
		vault.hold.Store(true)
		vault.rotate(snapshot(2))
		must(t, a.Refresh(t.Context()))
		if set, _ := a.Snapshot(); first(set) != "canary-2" {
			t.Errorf("the new set has the value %q", first(set))
		}
		if first(old) != "" {
			t.Error("the value of the refused key is still there")
		}
	})
}
