package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// flapping is a vault in virtual time: it has a set, returns an error, or does not respond.
type flapping struct {
	mu    sync.Mutex // guards the fields below
	set   int        // the version of the set
	err   error      // instead of it
	hang  bool
	moved chan struct{} // closed at the next change

	troubled bool // the last call ended with an error
}

func (*flapping) Bindings(context.Context) ([]api.Binding, error) { return nil, errors.ErrUnsupported }
func (*flapping) Vault() string                                   { return "" }
func (*flapping) Placeholders() bool                              { return false }
func (*flapping) ClockSkew() (time.Duration, bool)                { return 0, false }
func (*flapping) Drop()                                           {}

func (v *flapping) Ask(ctx context.Context) (api.Snapshot, error) { return v.Next(ctx, "") }

func (v *flapping) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	end := time.Now().Add(50 * time.Second)
	if v.troubled {
		end = time.Now()
	}
	for {
		set, moved, hang := setOf(v.set), v.moved, v.hang
		switch {
		case v.err != nil:
			v.troubled = true
			return api.Snapshot{}, v.err
		case !hang && (set.Etag != etag || !time.Now().Before(end)):
			v.troubled = false
			if set.Etag == etag {
				return api.Snapshot{}, api.ErrNotModified
			}
			return set, nil
		}
		v.mu.Unlock()
		timer := time.NewTimer(time.Until(end))
		if hang {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case <-moved:
		case <-timer.C:
		}
		timer.Stop()
		v.mu.Lock()
		if ctx.Err() != nil {
			v.troubled = true
			return api.Snapshot{}, ctx.Err()
		}
	}
}

// become changes the vault, also for a call that waits.
func (v *flapping) become(set int, err error, hang bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.set, v.err, v.hang = set, err, hang
	close(v.moved)
	v.moved = make(chan struct{})
}

// token is the placeholder in a version of the set.
func token(version int) string { return fmt.Sprintf("miosa-tok-%026d", version) }

func setOf(version int) api.Snapshot {
	policy := api.DefaultPolicy()
	return api.Snapshot{Etag: fmt.Sprintf(`"%d"`, version), Policy: &policy, Bound: []api.Bound{{
		Label: api.Label{ID: "b_1", SecretID: "s_1", Version: int64(version), ExposeAsEnv: "TOKEN", Egress: &api.Egress{
			Placeholder: token(version), Rules: []api.EgressRule{{Hosts: []string{"api.example.com"}, Ports: []int{80}}},
		}},
		Value: api.NewValue(fmt.Appendf(nil, "canary-value-%d", version)),
	}}}
}

// A vault is available, away, silent, and refuses the key, in turns of about a minute for 24 hours of virtual time. Requests
// use the set that the broker should have, and memory and goroutines don't grow. With -short it takes three hours.
func TestFlappingVault(t *testing.T) {
	whole := 24 * time.Hour
	if testing.Short() {
		whole /= 8
	}
	authority, err := ca.New("sandbox:sb_1", nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		vault := &flapping{set: 1, moved: make(chan struct{})}
		id := api.Resource{Type: api.Sandbox, ID: "sb_1"}
		r := &resource{Resource: id, proxied: proxy.NewQueue(), redirected: proxy.NewQueue(), answered: make(chan struct{})}
		r.maxAge.Store(int64(defaultMaxAge))
		r.set.Store(proxy.NoSet(starting))
		if r.engine, err = agent.New(agent.Config{Resource: id, Source: vault, Log: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
		r.server = proxy.New(proxy.Config{Resource: id, Authority: authority, Set: r.set.Load, Recorder: nobody{}, Log: zerolog.Nop()})
		r.start(make(chan error, 1))
		synctest.Wait()

		random := rand.New(rand.NewPCG(24, 24)) // the same in each run
		version, wrong := 1, 0
		expect := func(when, placeholder, want string) {
			if got := reasonOf(t, r, placeholder); got != want {
				if wrong++; wrong < 10 {
					t.Errorf("version %d, %s: got %s, want %s", version, when, got, want)
				}
			}
		}
		flap := func(long time.Duration) {
			for end := time.Now().Add(long); time.Now().Before(end); {
				during := "plain_http" // the value would be put into a request without TLS: there is one
				switch random.IntN(5) {
				case 0:
					vault.become(version, errors.New("connection refused"), false)
				case 1:
					vault.become(version, context.DeadlineExceeded, false)
				case 2:
					vault.become(version, nil, true)
				case 3:
					vault.become(version, api.ErrDenied, false)
					during = "no_set"
				}
				time.Sleep(5*time.Second + time.Duration(random.Int64N(int64(2*time.Minute))))
				expect("while the vault flaps", token(version), during)
				version++
				vault.become(version, nil, false)
				time.Sleep(2 * time.Minute) // after a refusal it asks about once in a minute
				expect("later", token(version), "plain_http")
				expect("later, with the old placeholder", token(version-1), "placeholder")
			}
		}
		flap(time.Hour)
		goroutines, heap := measure(t)
		flap(whole)
		more, after := measure(t)
		if more > goroutines+2 {
			t.Errorf("%d goroutines, %d before", more, goroutines)
		}
		if after > heap+256<<10 {
			t.Errorf("%d KiB on the heap, %d before", after>>10, heap>>10)
		}
		t.Logf("%d versions, %d KiB on the heap, %d goroutines", version, after>>10, more)
		r.close()
	})
}

// measure returns the number of goroutines and bytes on the heap after a garbage collection.
func measure(t *testing.T) (goroutines int, heap uint64) {
	t.Helper()
	for range 4 {
		runtime.GC()
		time.Sleep(time.Second) // of virtual time, in which cleanups run
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// nobody drops events.
type nobody struct{}

// Record implements proxy.Recorder.
func (nobody) Record(api.TrafficEvent) {}

// reasonOf sends a request with a placeholder to a resource's proxy, and returns why it is refused.
func reasonOf(t *testing.T, r *resource, placeholder string) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	r.proxied.Give(server)
	if _, err := fmt.Fprintf(client, "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", placeholder); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(answer), `"reason":"`)
	reason, _, ok := strings.Cut(rest, `"`)
	if !ok || strings.Contains(string(answer), "canary") {
		t.Fatalf("got %q", answer)
	}
	return reason
}
