package agent_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
)

// The fallback is used each time the source fails, and later the source is tried first again. Only the fallback's
// sets are cached.
func TestFallback(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	synctest.Test(t, func(t *testing.T) {
		local, vault := newFakeVault(snapshot(1)), newFakeVault(snapshot(2))
		local.err = errDown
		kept := cacheAt(t, path, someKey)
		e, err := agent.New(agent.Config{Resource: sandbox, Source: local, Heap: true, Fallback: func(why error) (agent.Source, *cache.Cache, error) {
			if !errors.Is(why, api.ErrUnavailable) {
				return nil, nil, why
			}
			return vault, kept, nil
		}})
		must(t, err)
		cached := func(want string) {
			t.Helper()
			synctest.Wait()
			if set, _, err := kept.Load(); err != nil || first(set) != want {
				t.Errorf("cached: %q, %v, want %q", first(set), err, want)
			}
		}
		set, err := e.First(t.Context())
		if err != nil || first(set) != "canary-2" {
			t.Errorf("first: %q, %v", first(set), err)
		}
		cached("canary-2") // before First returns, because then the command is started
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		vault.rotate(snapshot(3))
		expect(t, e, "the fallback's", summary{agent.Fresh, agent.FromVault, "canary-3", 0, ""})
		cached("canary-3")
		local.rotate(snapshot(4))
		time.Sleep(time.Minute)
		expect(t, e, "the source's", summary{agent.Fresh, agent.FromVault, "canary-4", time.Duration(e.Status().Age) * time.Second, ""})
		cached("canary-3")
		local.fail(errRevoked) // an error for which there is no fallback
		expect(t, e, "refused", summary{State: agent.Refused, Error: "key was revoked"})
		cancel()
		must(t, <-ended)
	})
}

// First returns the cached set after patience, and a refusal removes the cache.
func TestFirstFromCache(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		hang  bool
		after time.Duration
		want  error
	}{
		{"hangs", nil, true, 700 * time.Millisecond, nil},
		{"fails", errDown, false, 0, nil},
		{"refuses", errRevoked, false, 0, api.ErrUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "set")
			synctest.Test(t, func(t *testing.T) {
				kept, vault := cacheAt(t, path, someKey), newFakeVault(snapshot(1))
				must(t, kept.Save(snapshot(1), time.Now()))
				vault.err, vault.hang = tt.err, tt.hang
				e, err := agent.New(agent.Config{Resource: sandbox, Source: vault, Cache: kept, Heap: true})
				must(t, err)
				began := time.Now()
				set, err := e.First(t.Context())
				if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.after || err == nil && first(set) != "canary-1" {
					t.Errorf("%q, %v after %s", first(set), err, took)
				}
				if _, _, err := kept.Load(); (err == nil) != (tt.want == nil) {
					t.Errorf("cache: %v", err)
				}
			})
		})
	}
}

// A refusal counts even if it arrives when the cached set is served already.
func TestFirstRefusedLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	synctest.Test(t, func(t *testing.T) {
		kept := cacheAt(t, path, someKey)
		must(t, kept.Save(snapshot(1), time.Now()))
		late := &source{next: func(ctx context.Context, _ int, _ string) (api.Snapshot, error) {
			<-ctx.Done()
			return api.Snapshot{}, errRevoked
		}}
		e, err := agent.New(agent.Config{Resource: sandbox, Source: late, Cache: kept, Heap: true})
		must(t, err)
		if set, err := e.First(t.Context()); !errors.Is(err, api.ErrUnauthorized) {
			t.Errorf("%q, %v", first(set), err)
		}
		if _, _, err := kept.Load(); err == nil {
			t.Error("the cache is still there")
		}
	})
}
