package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// waiting starts an Await and returns a channel that receives its result.
func waiting(t *testing.T, s *Store, a Actor, etag string, wait time.Duration) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		done <- s.Await(t.Context(), a, box1, etag, wait)
	}()
	poll.Until(t, 30*time.Second, "waiting", func() bool {
		return s.hub.Topics() > 0
	})
	return done
}

func etagOf(t *testing.T, s *Store, a Actor) string {
	t.Helper()
	state, err := s.state(t.Context(), a, box1)
	if err != nil {
		t.Fatal(err)
	}
	return state.etag
}

// What ends a wait, done by this process and by another one: a second store on the same folder.
func TestAwait(t *testing.T) {
	type world struct {
		owner, reader Actor
		secret        api.Secret
		binding       api.Binding
	}
	tests := []struct {
		name string
		do   func(ctx context.Context, s *Store, w world) error
		want *api.Kind // nil: a new set
	}{
		{"rotation", func(ctx context.Context, s *Store, w world) error {
			_, err := s.RotateSecret(ctx, w.owner, w.secret.ID, Rotation{Value: text("new")})
			return err
		}, nil},
		{"replacement", func(ctx context.Context, s *Store, w world) error {
			_, _, _, err := s.PutSecret(ctx, w.owner, api.NewSecret{Name: "TOKEN", Value: text("new")}, nil)
			return err
		}, nil},
		{"deletion", func(ctx context.Context, s *Store, w world) error { return s.DeleteSecret(ctx, w.owner, w.secret.ID) }, nil},
		{"binding", func(ctx context.Context, s *Store, w world) error {
			_, _, err := s.CreateBinding(ctx, w.owner, api.NewBinding{SecretID: w.secret.ID, Resource: box1, ExposeAsEnv: "SECOND"})
			return err
		}, nil},
		{"secret with binding", func(ctx context.Context, s *Store, w world) error {
			_, _, _, err := s.PutSecret(ctx, w.owner, api.NewSecret{Name: "n", Value: text("v"), Resource: box1, ExposeAsEnv: "THIRD"}, nil)
			return err
		}, nil},
		{"unbinding", func(ctx context.Context, s *Store, w world) error { return s.DeleteBinding(ctx, w.owner, w.binding.ID) }, nil},
		{"revocation", func(ctx context.Context, s *Store, w world) error {
			return s.RevokeResourceKey(ctx, w.owner, w.reader.KeyID)
		}, api.ErrUnauthorized},
		{"revocation at the command line", func(ctx context.Context, s *Store, w world) error { return s.RevokeKey(ctx, w.reader.KeyID) }, api.ErrUnauthorized},
	}
	for _, where := range []string{"this process", "another process"} {
		for _, tt := range tests {
			t.Run(tt.name+" by "+where, func(t *testing.T) {
				dir := t.TempDir()
				s := storeAt(t, dir)
				w := world{owner: tenant(t, s, "acme")}
				w.secret = bound(t, s, w.owner, "TOKEN", "old")
				w.reader = agent(t, s, w.owner, box1)
				list, _, err := s.Bindings(t.Context(), w.owner, BindingFilter{})
				if err != nil {
					t.Fatal(err)
				}
				w.binding = list[0]
				by := s
				if where == "another process" {
					by = storeAt(t, dir)
				}
				done := waiting(t, s, w.reader, etagOf(t, s, w.reader), time.Minute)
				if err := tt.do(t.Context(), by, w); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-done:
					if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
						t.Errorf("ended with %v, want %v", err, tt.want)
					}
				case <-time.After(10 * time.Second):
					t.Error("not woken")
				}
			})
		}
	}
}

func TestAwaitEndsOtherwise(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	etag := etagOf(t, s, reader)

	if err := s.Await(t.Context(), reader, box1, "another", time.Minute); err != nil {
		t.Errorf("with an old etag: %v", err)
	}
	if err := s.Await(t.Context(), reader, box1, etag, 10*time.Millisecond); !errors.Is(err, api.ErrNotModified) {
		t.Errorf("after the wait: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Await(ctx, reader, box1, etag, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the caller left: %v", err)
	}
	// Changes of other resources do not end the wait; the expiry of its own key does.
	k, err := s.CreateResourceKey(t.Context(), owner, box1, in(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(k.Key)
	if err != nil {
		t.Fatal(err)
	}
	done := waiting(t, s, actorOf(t, s, key), etag, time.Minute)
	put(t, s, owner, api.NewSecret{Name: "unbound", Value: text("v")})
	wantKind(t, <-done, api.ErrUnauthorized)

	done = waiting(t, s, reader, etag, time.Minute)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-done, api.ErrUnavailable)
	if n := s.hub.Topics(); n != 0 {
		t.Errorf("%d resources still have subscribers", n)
	}
}

// A write wakes only the waits that it affects. Otherwise 10,000 agents would read the set after every write, key
// rotation, or reveal in another process.
func TestWritesWakeNobodyElse(t *testing.T) {
	dir := t.TempDir()
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	reader := agent(t, s, owner, box1)
	secret := put(t, s, owner, api.NewSecret{Name: "unbound", Value: text("v")})
	tests := []struct {
		name string
		do   func() error
	}{
		{"a secret put", func() error {
			_, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: newID("n"), Value: text("v")}, nil)
			return err
		}},
		{"an unbound secret rotated", func() error {
			_, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("v")})
			return err
		}},
		{"a reveal elsewhere", func() error { _, err := elsewhere.opened(t.Context(), reader, box1); return err }},
		{"a secret put elsewhere", func() error {
			_, _, _, err := elsewhere.PutSecret(t.Context(), owner, api.NewSecret{Name: newID("n"), Value: text("v")}, nil)
			return err
		}},
		{"a key rotation elsewhere", func() error { _, err := elsewhere.RotateKeys(t.Context(), "acme"); return err }},
		{"a root key rotation elsewhere", func() error { return elsewhere.RotateRoot(t.Context()) }},
	}
	// Earlier writes may still be noticed after the subscription.
	if err := delay.Sleep(t.Context(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			woken := make(chan struct{}, 1)
			defer s.Subscribe(owner, box1, func() { nudge(woken) })()
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-woken:
				t.Error("woken by a write that doesn't concern it")
			case <-time.After(100 * time.Millisecond): // the watcher polls every 20 ms
			}
		})
	}
}

// A change by another process is never missed, whenever it happens between two polls of the watcher and however
// much this process writes meanwhile.
func TestNoChangeElsewhereIsMissed(t *testing.T) {
	dir := t.TempDir()
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if _, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "noise", Value: text("v")}, nil); err != nil {
				ended <- err
				return
			}
		}
	}()
	for range 50 {
		done := waiting(t, s, reader, etagOf(t, s, reader), 10*time.Second)
		if err := delay.Sleep(t.Context(), rand.N(25*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := elsewhere.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("v")}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatalf("the wait ended with %v", err)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A reveal of a secret that expires in thousands of years waits without reading the set all the time.
func TestAttack_DistantExpiry(t *testing.T) {
	at := recheckAt(nil, new(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)))
	if wait := time.Until(at); wait < 23*time.Hour || wait > 24*time.Hour {
		t.Errorf("it waits for %s", wait)
	}
}

// The changes since a position in the log are those of other processes. If the log isn't the one that the position is from, as
// after a failover that has lost the newest events, every set may have changed.
func TestChangesSince(t *testing.T) {
	dir := t.TempDir()
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner, stranger := tenant(t, s, "acme"), tenant(t, s, "other")
	secret := bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	end := func() (end position) {
		t.Helper()
		tamper(t, s, `SELECT 1`) // after all commits
		end, err := read(t.Context(), s, operator, anyKey, func(t *txn) (position, error) { return endOfLog(t) })
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	for _, tt := range []struct {
		name string
		seen func(position) position
		do   func() error
		want changes
	}{
		{"nothing", nil, func() error { return nil }, changes{}},
		{"a reveal", nil, func() error { _, err := elsewhere.opened(t.Context(), reader, box1); return err }, changes{}},
		{"a rotation", nil, func() error {
			_, err := elsewhere.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("v")})
			return err
		}, changes{tenants: map[string]struct{}{owner.TenantID: {}}}},
		{"a revocation", nil, func() error { return elsewhere.RevokeKey(t.Context(), stranger.KeyID) },
			changes{tenants: map[string]struct{}{stranger.TenantID: {}}, keysEnd: true}},
		{"from the start", func(position) position { return position{} }, func() error { return nil },
			changes{tenants: map[string]struct{}{owner.TenantID: {}, stranger.TenantID: {}}, keysEnd: true}},
		{"another event", func(p position) position { return position{p.seq, "evt_other"} }, func() error { return nil }, changes{all: true, keysEnd: true}},
		{"an event that is gone", func(p position) position { return position{p.seq + 1000, p.id} }, func() error { return nil }, changes{all: true, keysEnd: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := end()
			if tt.seen != nil {
				seen = tt.seen(seen)
			}
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			got, err := read(t.Context(), s, operator, anyKey, func(t *txn) (changes, error) {
				c, _, err := t.changesSince(seen)
				return c, err
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.tenants) == 0 {
				got.tenants = nil
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(changes{})); diff != "" {
				t.Errorf("changes (-got +want)\n%s", diff)
			}
		})
	}
}

// A call of alive doesn't skip changes from before the log could be read.
func TestAliveReadsWhatWasMissed(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TOKEN", "v")
	s.lost.Store(true)
	w := &changeWatcher{Store: s, behind: true}
	w.alive()
	if w.behind || w.seen == (position{}) || s.lost.Load() {
		t.Errorf("behind %v at %v, lost %v", w.behind, w.seen, s.lost.Load())
	}
}
