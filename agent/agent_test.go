package agent_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// fakeVault is a source that a test controls, in virtual time.
type fakeVault struct {
	plain
	mu    sync.Mutex // guards the fields below
	set   api.Snapshot
	err   error         // instead of the set
	hang  bool          // does not respond
	moved chan struct{} // closed at the next change; created by a waiting call, in its synctest bubble
	seen  []time.Time
	drops int

	troubled bool // the last call ended with an error
}

func newFakeVault(set api.Snapshot) *fakeVault {
	return &fakeVault{set: set}
}

// copied returns a copy of a set with its own values, since the receiver may wipe them.
func copied(s api.Snapshot) api.Snapshot {
	s.Bound = slices.Clone(s.Bound)
	for i := range s.Bound {
		s.Bound[i].Value = api.NewValue([]byte(s.Bound[i].Value.Reveal()))
	}
	return s
}

// become changes the vault's state, also for waiting requests.
func (v *fakeVault) become(change func(*fakeVault)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(v)
	if v.moved != nil {
		close(v.moved)
		v.moved = nil
	}
}

func (v *fakeVault) rotate(set api.Snapshot) {
	v.become(func(v *fakeVault) { v.set, v.err = set, nil })
}
func (v *fakeVault) fail(err error) { v.become(func(v *fakeVault) { v.err = err }) }

func (v *fakeVault) asked() []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.seen)
}

func (v *fakeVault) Drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drops++
}

func (v *fakeVault) Ask(ctx context.Context) (api.Snapshot, error) { return v.Next(ctx, "") }

func (v *fakeVault) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	v.mu.Lock()
	v.seen = append(v.seen, time.Now())
	long := 50 * time.Second
	if v.troubled {
		long = 0
	}
	v.mu.Unlock()
	set, err := v.next(ctx, etag, long)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.troubled = err != nil && !errors.Is(err, api.ErrNotModified)
	return set, err
}

func (v *fakeVault) next(ctx context.Context, etag string, long time.Duration) (api.Snapshot, error) {
	wait, over := time.NewTimer(long), false
	defer wait.Stop()
	for {
		v.mu.Lock()
		if v.moved == nil {
			v.moved = make(chan struct{})
		}
		set, err, hang, moved := copied(v.set), v.err, v.hang, v.moved
		v.mu.Unlock()
		switch {
		case hang:
		case err != nil:
			return api.Snapshot{}, err
		case set.Etag != etag:
			return set, nil
		case over:
			return api.Snapshot{}, api.ErrNotModified
		}
		select {
		case <-ctx.Done():
			return api.Snapshot{}, ctx.Err()
		case <-moved:
		case <-wait.C:
			over = true
		}
	}
}

// fakeOutput is an output that records what is done with it.
type fakeOutput struct {
	name  string
	keep  bool
	mu    sync.Mutex // guards the fields below
	diary []string
	err   error // of Write and Remove
	holds int   // variables
	wrote int64
}

func (p *fakeOutput) Name() string { return p.name }
func (p *fakeOutput) Keep() bool   { return p.keep }

func (p *fakeOutput) Counts() (variables int, writes, hooks, hookFailures int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holds, p.wrote, 0, 0
}

func (p *fakeOutput) note(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		what = "tried: " + what
	}
	p.diary = append(p.diary, what)
	return p.err
}

func (p *fakeOutput) Write(s api.Snapshot) error {
	text := ""
	for _, b := range s.Bound {
		text += b.ExposeAsEnv + "=" + b.Value.Reveal() + " "
	}
	err := p.note(strings.TrimSpace(text))
	if p.mu.Lock(); err == nil {
		p.holds, p.wrote = len(s.Bound), p.wrote+1
	}
	p.mu.Unlock()
	return err
}

func (p *fakeOutput) Remove() error { return p.note("removed") }

func (p *fakeOutput) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *fakeOutput) read() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.diary)
}

// first returns the value of the first binding of a set, or "".
func first(s api.Snapshot) string {
	if len(s.Bound) == 0 {
		return ""
	}
	return s.Bound[0].Value.Reveal()
}

// runDaemon runs an engine in virtual time until test returns.
func runDaemon(t *testing.T, conf agent.Config, test func(t *testing.T, a *agent.Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { runAgent(t, conf, test) })
}

// runAgent is like runDaemon for tests that already run in virtual time.
func runAgent(t *testing.T, conf agent.Config, test func(t *testing.T, a *agent.Engine)) {
	t.Helper()
	conf.Resource = sandbox
	a, err := agent.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	synctest.Wait()
	test(t, a)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// summary is the part of a status that most tests compare.
type summary struct {
	State  agent.State
	Origin agent.Origin
	Value  string
	Age    time.Duration // in whole seconds
	Error  string
}

func tell(a *agent.Engine) summary {
	set, s := a.Snapshot()
	return summary{s.State, s.Origin, first(set), time.Duration(s.Age) * time.Second, s.LastError}
}

func expect(t *testing.T, a *agent.Engine, what string, want summary) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(tell(a), want); diff != "" {
		t.Errorf("%s (-got +want):\n%s", what, diff)
	}
}

func cacheAt(t testing.TB, path string, key string) *cache.Cache {
	t.Helper()
	parsed, err := api.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(cache.Config{Path: path, Key: parsed, Resource: sandbox})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const someKey = "msk_r_abcdefghijklmnopqrstuvwxyz0123456789"

var (
	errDown    = &api.Error{Kind: api.ErrUnavailable, Message: "not ready"}
	errRevoked = &api.Error{Kind: api.ErrUnauthorized, Message: "key was revoked"}
)

func TestAgentStates(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	vault.err = errDown
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		expect(t, a, "before the first answer", summary{State: agent.Starting, Error: "not ready"})
		vault.rotate(snapshot(1))
		time.Sleep(time.Second)
		expect(t, a, "after it", summary{agent.Fresh, agent.FromVault, "canary-1", 0, "not ready"})
		time.Sleep(49 * time.Second)
		if age := a.Status().Age; age < 49 || age > 50 {
			t.Errorf("age %v while a wait lasts", age)
		}
		time.Sleep(time.Second)
		expect(t, a, "confirmed after a wait", summary{agent.Fresh, agent.FromVault, "canary-1", 0, "not ready"})
		vault.rotate(snapshot(2))
		expect(t, a, "rotated, at once", summary{agent.Fresh, agent.FromVault, "canary-2", 0, "not ready"})
		vault.fail(errors.New("gone"))
		expect(t, a, "the vault fails", summary{agent.Stale, agent.FromVault, "canary-2", 0, "gone"})
		time.Sleep(100 * time.Second)
		expect(t, a, "for long", summary{agent.Stale, agent.FromVault, "canary-2", 100 * time.Second, "gone"})
		vault.fail(nil)
		time.Sleep(30 * time.Second)
		expect(t, a, "is well again, within a pause", summary{agent.Fresh, agent.FromVault, "canary-2", time.Duration(a.Status().Age) * time.Second, "gone"})
		vault.fail(errRevoked)
		expect(t, a, "revoked", summary{State: agent.Refused, Error: "key was revoked"})
		if _, err := a.Wait(t.Context(), ""); !errors.Is(err, api.ErrUnauthorized) {
			t.Errorf("wait: %v", err)
		}
		n := len(vault.asked())
		time.Sleep(10 * time.Minute)
		if asked := len(vault.asked()) - n; asked < 9 || asked > 12 {
			t.Errorf("%d requests in 10 minutes of refusal", asked)
		}
		vault.fail(nil)
		time.Sleep(66 * time.Second)
		if s := tell(a); s.State != agent.Fresh || s.Value != "canary-2" {
			t.Errorf("after the key is accepted again: %+v", s)
		}
		s := a.Status()
		if s.Bindings != 1 || s.Etag != snapshot(2).Etag || s.PID != os.Getpid() || s.Resource != sandbox || s.Counts.Changes != 3 || s.Counts.Refusals < 10 || s.Counts.Failures < 3 || int(s.Counts.Asks) > len(vault.asked()) {
			t.Errorf("status %+v", s)
		}
	})
}

// A request to a vault that hangs times out.
func TestAgentHungSource(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(time.Second)
		vault.become(func(v *fakeVault) { v.hang = true })
		time.Sleep(2*time.Minute + time.Second)
		if s := a.Status(); s.State != agent.Stale || s.Age < 120 {
			t.Errorf("state %s, age %v", s.State, s.Age)
		}
		vault.become(func(v *fakeVault) { v.hang = false })
		time.Sleep(31 * time.Second)
		if s := a.Status(); s.State != agent.Fresh {
			t.Errorf("state %s", s.State)
		}
	})
}

func TestAgentWait(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		type result struct {
			value string
			after time.Duration
			err   error
		}
		wait := func(etag string, limit time.Duration) <-chan result {
			out := make(chan result, 1)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			go func() {
				defer cancel()
				s, err := a.Wait(ctx, etag)
				out <- result{first(s), time.Since(began), err}
			}()
			return out
		}
		if got := <-wait("", time.Second); got != (result{value: "canary-1"}) {
			t.Errorf("first set: %+v", got)
		}
		if got := <-wait(snapshot(1).Etag, time.Hour+time.Second); !errors.Is(got.err, context.DeadlineExceeded) || got.after != time.Hour+time.Second {
			t.Errorf("without a change: %+v", got)
		}
		many := []<-chan result{}
		for range 50 {
			many = append(many, wait(snapshot(1).Etag, time.Hour))
		}
		time.Sleep(7 * time.Second)
		vault.rotate(snapshot(2))
		for _, w := range many {
			if got := <-w; got != (result{"canary-2", 7 * time.Second, nil}) {
				t.Errorf("after a rotation: %+v", got)
			}
		}
		revoked := wait(snapshot(2).Etag, time.Hour)
		time.Sleep(time.Second)
		vault.fail(errRevoked)
		if got := <-revoked; !errors.Is(got.err, api.ErrUnauthorized) || got.after != time.Second {
			t.Errorf("after a revocation: %+v", got)
		}
	})
}

func TestAgentRefresh(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(3 * time.Second)
		n := len(vault.asked())
		if err := a.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := len(vault.asked()) - n; got != 2 { // including the wait that follows
			t.Errorf("%d requests for one refresh", got)
		}
		expect(t, a, "refreshed", summary{agent.Fresh, agent.FromVault, "canary-1", 0, ""})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := a.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		vault.fail(errDown)
		synctest.Wait()
		if err := a.Refresh(t.Context()); !errors.Is(err, api.ErrUnavailable) {
			t.Errorf("refresh while the vault is down: %v", err)
		}
		time.Sleep(time.Hour) // until the pauses between requests are long
		vault.fail(nil)
		began := time.Now()
		if err := a.Refresh(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("refresh during a pause: %v after %s", err, time.Since(began))
		}
		vault.fail(errRevoked)
		synctest.Wait()
		vault.rotate(snapshot(2))
		if err := a.Refresh(t.Context()); err != nil {
			t.Errorf("refresh after a refusal: %v", err)
		}
		expect(t, a, "key accepted again", summary{agent.Fresh, agent.FromVault, "canary-2", 0, "key was revoked"})
		vault.become(func(v *fakeVault) { v.hang = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("refresh while the vault hangs: %v", err)
		}
	})
}

func TestAgentStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := agent.New(agent.Config{Resource: sandbox, Source: newFakeVault(snapshot(1))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
		if err := a.Refresh(t.Context()); err == nil {
			t.Error("Refresh returned no error")
		}
		if _, err := a.Wait(t.Context(), snapshot(1).Etag); err == nil {
			t.Error("Wait returned no error")
		}
		a.SetOutputs(outputs(&fakeOutput{name: "late"}))
	})
}

// If the vault doesn't answer, the cached set is served within a second, with its origin.
func TestAgentCachedStart(t *testing.T) {
	// seal saves a set in virtual time, which starts again in each test.
	seal := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "state", "set")
		synctest.Test(t, func(t *testing.T) {
			if err := cacheAt(t, path, someKey).Save(snapshot(3), time.Now().Add(-2*time.Hour)); err != nil {
				t.Fatal(err)
			}
		})
		return path
	}
	for _, tt := range []struct {
		name   string
		become func(*fakeVault)
		err    string
	}{
		{"hung", func(v *fakeVault) { v.hang = true }, ""},
		{"down", func(v *fakeVault) { v.err = errDown }, "not ready"},
		{"rolled back", func(v *fakeVault) { v.set = snapshot(2) }, "the vault gave a lower version of a secret than before: 2 of sec_1, after 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, vault, out := seal(t), newFakeVault(snapshot(3)), &fakeOutput{name: "out"}
			tt.become(vault)
			runDaemon(t, agent.Config{Source: vault, Cache: cacheAt(t, path, someKey), Outputs: []agent.Output{out}}, func(t *testing.T, a *agent.Engine) {
				time.Sleep(600 * time.Millisecond)
				expect(t, a, "the vault has a chance", summary{State: agent.Starting, Error: tt.err})
				time.Sleep(200 * time.Millisecond)
				expect(t, a, "within a second", summary{agent.Stale, agent.FromCache, "canary-3", 2 * time.Hour, tt.err})
				vault.become(func(v *fakeVault) { v.hang, v.err, v.set = false, nil, snapshot(3) })
				time.Sleep(10 * time.Second)
				if s := tell(a); s.State != agent.Fresh || s.Origin != agent.FromVault || s.Value != "canary-3" {
					t.Errorf("after the vault has answered: %+v", s)
				}
				if diff := cmp.Diff(out.read(), []string{"TOKEN=canary-3"}); diff != "" {
					t.Errorf("written (-got +want):\n%s", diff)
				}
			})
		})
	}
	t.Run("a quick vault", func(t *testing.T) {
		path, out := seal(t), &fakeOutput{name: "out"}
		runDaemon(t, agent.Config{Source: newFakeVault(snapshot(4)), Cache: cacheAt(t, path, someKey), Outputs: []agent.Output{out}}, func(t *testing.T, a *agent.Engine) {
			time.Sleep(time.Second)
			expect(t, a, "no cache", summary{agent.Fresh, agent.FromVault, "canary-4", 1 * time.Second, ""})
			if diff := cmp.Diff(out.read(), []string{"TOKEN=canary-4"}); diff != "" {
				t.Errorf("written (-got +want):\n%s", diff)
			}
			if set, _, err := cacheAt(t, path, someKey).Load(); err != nil || first(set) != "canary-4" {
				t.Errorf("cached: %v", err)
			}
		})
	})
}

// Sets of a vault that was restored from an older backup are refused. The log and the status say why, and how an operator
// accepts them.
func TestAgentRestoredVault(t *testing.T) {
	const (
		says = "the vault gave a lower version of a secret than before: 2 of sec_1, after 3"
		hint = "stop miosa-env, delete its cache, start it"
	)
	path, vault := filepath.Join(t.TempDir(), "set"), newFakeVault(snapshot(3))
	var log bytes.Buffer
	conf := agent.Config{Source: vault, Cache: cacheAt(t, path, someKey), Log: zerolog.New(&log).Level(zerolog.WarnLevel)}
	stale := func(t *testing.T, a *agent.Engine) {
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got, s := tell(a), a.Status(); got.State != agent.Stale || got.Value != "canary-3" || got.Error != says || !strings.Contains(s.LastHint, hint) {
			t.Errorf("%+v, hint %q", got, s.LastHint)
		}
		if err := a.Refresh(t.Context()); err == nil || err.Error() != says {
			t.Errorf("refresh: %v", err)
		}
		if !strings.Contains(log.String(), says) || !strings.Contains(log.String(), hint) {
			t.Errorf("log:\n%s", log.String())
		}
	}
	synctest.Test(t, func(t *testing.T) {
		run := func(c agent.Config, test func(t *testing.T, a *agent.Engine)) {
			log.Reset()
			runAgent(t, c, test)
		}
		run(conf, func(t *testing.T, a *agent.Engine) {
			time.Sleep(time.Minute)
			vault.rotate(snapshot(2)) // the older backup
			stale(t, a)
		})
		// Starting the agent does not accept the older set.
		conf.Cache = cacheAt(t, path, someKey)
		must(t, conf.Cache.Save(snapshot(3), time.Now()))
		run(conf, stale)
		must(t, os.Remove(path))
		run(conf, func(t *testing.T, a *agent.Engine) {
			expect(t, a, "the backup's set is taken", summary{agent.Fresh, agent.FromVault, "canary-2", 0, ""})
		})
		set, _, err := conf.Cache.Load()
		if err != nil || first(set) != "canary-2" {
			t.Errorf("cached: %q, %v", first(set), err)
		}
	})
}

// The log message of a failure depends on whether there is a set, and contains the wait.
func TestAgentLogsFailures(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	vault.err = errDown
	var log bytes.Buffer
	runDaemon(t, agent.Config{Source: vault, Log: zerolog.New(&log).Level(zerolog.WarnLevel)}, func(t *testing.T, a *agent.Engine) {
		says := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(lines(&log), append([]string{}, want...)); diff != "" {
				t.Errorf("%s (-got +want):\n%s", when, diff)
			}
			log.Reset()
		}
		if !regexp.MustCompile(`"wait":"\d+ms"`).MatchString(log.String()) {
			t.Errorf("no readable wait in the log: %s", log.String())
		}
		says("at the start", saysNone)
		vault.rotate(snapshot(1))
		time.Sleep(time.Minute)
		vault.fail(errDown)
		says("with a set", saysStale)
		vault.fail(nil)
		time.Sleep(time.Minute)
		vault.fail(errRevoked)
		says("refused", "error: key refused: all values removed")
		vault.fail(errDown)
		time.Sleep(2 * time.Minute)
		says("after a refusal", saysNone)
	})
}

// An unchanged set is saved again at times, so that its age in the cache stays small.
func TestAgentSaveInterval(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	runDaemon(t, agent.Config{Source: newFakeVault(snapshot(1)), Cache: cacheAt(t, path, someKey)}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := a.Status().Counts.CacheSaves; n < 20 || n > 25 {
			t.Errorf("%d saves in a day", n)
		}
		if _, at, err := cacheAt(t, path, someKey).Load(); err != nil || time.Since(at) > time.Hour+2*time.Minute {
			t.Errorf("error %v, confirmed %s ago", err, time.Since(at))
		}
	})
}

// Replace sends a request to the new source at once and removes the old cache.
func TestAgentReplace(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	old, next := newFakeVault(snapshot(1)), newFakeVault(snapshot(2))
	runDaemon(t, agent.Config{Source: old, Cache: cacheAt(t, one, someKey)}, func(t *testing.T, a *agent.Engine) {
		synctest.Wait()
		old.fail(errRevoked)
		expect(t, a, "revoked", summary{State: agent.Refused, Error: "key was revoked"})
		a.Replace(next, cacheAt(t, two, "msk_r_zyxwvutsrqponmlkjihgfedcba9876543210"))
		expect(t, a, "another key", summary{agent.Fresh, agent.FromVault, "canary-2", 0, "key was revoked"})
		if _, err := os.Stat(one); err == nil {
			t.Error("the old cache was not removed")
		}
		if _, err := os.Stat(two); err != nil {
			t.Error(err)
		}
		n := len(old.asked())
		a.Replace(next, nil)
		time.Sleep(time.Hour)
		if _, err := os.Stat(two); err == nil {
			t.Error("the cache was not removed")
		}
		if len(old.asked()) != n {
			t.Error("the old source received another request")
		}
	})
}

// After a wake the engine sends a request at once, over a new connection, and retries faster for a while.
func TestAgentWake(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	var wake func(string)
	watch := func(ctx context.Context, call func(string)) error {
		wake = call
		<-ctx.Done()
		return nil
	}
	runDaemon(t, agent.Config{Source: vault, Sleep: watch}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(10 * time.Second)
		n := len(vault.asked())
		wake("slept")
		synctest.Wait()
		if got := len(vault.asked()) - n; got != 2 || vault.drops != 2 {
			t.Errorf("%d requests, connections dropped %d times", got, vault.drops)
		}
		// It is unknown whether more events belong to the same wake or to another pause of zero length by this
		// machine's clock: together they cause one more wake, soon.
		wake("clock set")
		wake("continued")
		synctest.Wait()
		if got := len(vault.asked()) - n; got != 2 {
			t.Errorf("%d requests after the first of three wakes", got)
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if got := len(vault.asked()) - n; got != 4 || vault.drops != 3 {
			t.Errorf("%d requests after three wakes, connections dropped %d times", got, vault.drops)
		}
		time.Sleep(10 * time.Second)
		if got := len(vault.asked()) - n; got != 4 {
			t.Errorf("%d requests after three wakes", got)
		}
		vault.fail(errDown)
		time.Sleep(time.Hour)
		n = len(vault.asked())
		wake("slept")
		time.Sleep(20 * time.Second)
		if got := len(vault.asked()) - n; got < 38 || got > 85 {
			t.Errorf("%d requests in the 20 s after a wake", got)
		}
		vault.fail(nil)
		began := time.Now()
		if _, err := a.Wait(t.Context(), "x"); err != nil {
			t.Error(err)
		}
		for a.Status().State != agent.Fresh {
			<-a.Changed()
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("fresh after %s", took)
		}
		if got := a.Status().Counts.Wakes; got != 3 {
			t.Errorf("%d wakes", got)
		}
		wake("slept")
		wake("clock set") // the agent ends before this wake takes effect
	})
}

// A change during the second of two pauses that follow each other closely arrives within a second, although by this
// machine's clock both wakes come at once.
func TestAgentTwoPauses(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	var wake func(string)
	watch := func(ctx context.Context, call func(string)) error { wake = call; <-ctx.Done(); return nil }
	runDaemon(t, agent.Config{Source: vault, Sleep: watch}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(10 * time.Second)
		wake("clock set")
		synctest.Wait()
		vault.mu.Lock()
		vault.set = snapshot(2) // during the second pause, which kills the connection of the waiting request
		vault.mu.Unlock()
		wake("clock set")
		time.Sleep(time.Second)
		expect(t, a, "after the second wake", summary{agent.Fresh, agent.FromVault, "canary-2", 0, ""})
	})
}

func TestNewAgentRefuses(t *testing.T) {
	for name, conf := range map[string]agent.Config{
		"no resource": {Source: newFakeVault(snapshot(1)), Log: zerolog.Nop()},
		"no source":   {Resource: sandbox},
	} {
		if _, err := agent.New(conf); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
