package fetch_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// keyFile is what Config.Reread reads in these tests.
type keyFile struct {
	mu    sync.Mutex // guards the fields below
	key   api.Key
	err   error
	reads int
}

func (f *keyFile) put(key api.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = key
}

func (f *keyFile) reread(context.Context, api.Key) (api.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.key, f.err
}

func (f *keyFile) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

func rekeyed(t *testing.T, base string, f *keyFile) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{BaseURL: base, Key: f.key, Reread: f.reread})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// If a key is replaced before it is revoked, nothing is refused: neither a call, nor a reveal that waits
// meanwhile, nor a call with another resource's key that is answered with 403.
func TestReread(t *testing.T) {
	v := vaulttest.Start(t)
	secret := v.Put(t, "token", "first", sandbox, "TOKEN")
	old, oldID := v.MintResourceKey(t, sandbox)
	f := &keyFile{key: old}
	c := rekeyed(t, v.BaseURL, f)
	first, err := c.Reveal(t.Context(), sandbox, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	var next api.Snapshot
	go func() {
		var err error
		next, err = c.Reveal(t.Context(), sandbox, first.Etag, time.Minute)
		waiting <- err
	}()
	poll.Until(t, 30*time.Second, "the second reveal", func() bool { return v.Requests("POST /egress/bindings/reveal") == 2 })
	fresh, freshID := v.MintResourceKey(t, sandbox)
	f.put(fresh)
	v.Revoke(t, oldID)
	poll.Until(t, 30*time.Second, "the third reveal", func() bool { return v.Requests("POST /egress/bindings/reveal") == 3 })
	v.Rotate(t, secret, "second")
	if err := <-waiting; err != nil || len(next.Bound) != 1 || next.Bound[0].Value.Reveal() != "second" {
		t.Fatalf("the reveal that waited: %d values, %v", len(next.Bound), err)
	}
	if got := f.count(); got != 1 {
		t.Errorf("read %d times, want once", got)
	}
	if !c.Key().Equal(fresh.Value) {
		t.Error("the client doesn't have the new key")
	}

	other := v.ResourceKey(t, api.Resource{Type: api.Sandbox, ID: "sb_2"})
	denied := &keyFile{key: other}
	d := rekeyed(t, v.BaseURL, denied)
	if _, err := d.Reveal(t.Context(), sandbox, "", 0); !errors.Is(err, api.ErrDenied) {
		t.Fatalf("with another resource's key: %v", err)
	}
	denied.put(fresh)
	if _, err := d.Reveal(t.Context(), sandbox, "", 0); err != nil {
		t.Errorf("after its key was replaced: %v", err)
	}

	v.Revoke(t, freshID) // and the file contains no other key
	if _, err := c.Reveal(t.Context(), sandbox, "", 0); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("a key that was revoked and not replaced: %v", err)
	}
	if got := f.count(); got != 2 {
		t.Errorf("read %d times, want twice", got)
	}
	f.err = errors.New("gone")
	if _, err := c.Reveal(t.Context(), sandbox, "", 0); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("a key whose file is gone: %v", err)
	}
}

// A refusal of the old key that arrives after the new key was read does not count, and the file is not read again.
func TestRereadLateRefusal(t *testing.T) {
	old, fresh := api.NewKey(api.ResourceKeyPrefix), api.NewKey(api.ResourceKeyPrefix)
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	var late atomic.Bool
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") == "Bearer "+fresh.Reveal() {
			_, _ = w.Write([]byte(`{"bindings": []}`))
			return
		}
		if late.CompareAndSwap(false, true) {
			<-held
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error": "revoked", "code": "UNAUTHORIZED", "request_id": "r"}`))
	})
	t.Cleanup(release) // before the server's own cleanup, which waits for it
	f := &keyFile{key: old}
	c := rekeyed(t, s.URL, f)
	f.put(fresh)
	slow := make(chan error, 1)
	go func() { _, err := c.Bindings(t.Context(), fetch.BindingFilter{}); slow <- err }()
	poll.Until(t, 30*time.Second, "the late answer", late.Load)
	if _, err := c.Bindings(t.Context(), fetch.BindingFilter{}); err != nil {
		t.Fatal(err)
	}
	f.put(old) // which is not read
	release()
	if err := <-slow; err != nil {
		t.Errorf("the late refusal: %v", err)
	}
	if got := f.count(); got != 1 {
		t.Errorf("read %d times, want once", got)
	}
}

// A root key is not sent if a file contains one later, either.
func TestRereadRootKey(t *testing.T) {
	s := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	f := &keyFile{key: api.NewKey(api.ResourceKeyPrefix)}
	c := rekeyed(t, s.URL, f)
	f.put(api.NewKey(api.RootKeyPrefix))
	if _, err := c.Bindings(t.Context(), fetch.BindingFilter{}); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("error %v, want %v", err, api.ErrUnauthorized)
	}
	if got := len(s.times()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

// A waiting reveal survives any number of key rotations, if each key is valid until it is replaced.
func TestRereadOften(t *testing.T) {
	const rotations = 20
	virtually(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		time.Sleep(30 * time.Second) // less than the wait
		if n <= rotations {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNotModified)
	}, func(t *testing.T, c *fetch.Client, s *script) {
		if _, err := c.Reveal(t.Context(), sandbox, "etag", 50*time.Second); !errors.Is(err, api.ErrNotModified) {
			t.Errorf("error %v after %d requests, want %v", err, len(s.times()), api.ErrNotModified)
		}
	}, func(c *fetch.Config) {
		c.Reread = func(context.Context, api.Key) (api.Key, error) { return api.NewKey(api.ResourceKeyPrefix), nil }
	})
}

// The client stops after a few attempts if the file contains another refused key each time. If the caller's
// context ends while the file is read, that is not a refusal.
func TestRereadEnds(t *testing.T) {
	s := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error": "no", "code": "FORBIDDEN", "request_id": "r"}`))
	})
	fickle, err := fetch.New(fetch.Config{BaseURL: s.URL, Key: api.NewKey(api.ResourceKeyPrefix),
		Reread: func(context.Context, api.Key) (api.Key, error) { return api.NewKey(api.ResourceKeyPrefix), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer fickle.Close()
	if _, err := fickle.Bindings(t.Context(), fetch.BindingFilter{}); !errors.Is(err, api.ErrDenied) {
		t.Errorf("error %v", err)
	}
	if got := len(s.times()); got > 10 {
		t.Errorf("%d requests", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := fetch.New(fetch.Config{BaseURL: s.URL, Key: api.NewKey(api.ResourceKeyPrefix),
		Reread: func(ctx context.Context, refused api.Key) (api.Key, error) { cancel(); return refused, ctx.Err() }})
	if err != nil {
		t.Fatal(err)
	}
	defer ended.Close()
	if _, err := ended.Bindings(ctx, fetch.BindingFilter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
