package replicatest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

func isNotModified(err error) bool { return errors.Is(err, api.ErrNotModified) }

// V13: agents wait, each at one vault, and one at any, while the database and vaults are stopped and cut off. The versions that an
// agent gets rise, and it gets the latest.
func TestFault_V13_WaitsAcrossPausesAndPartitions(t *testing.T) {
	needs.Long(t, "three vaults run with faults for a while")
	t.Parallel()
	c := start(t, config{})
	owner := dial(t, c.Vaults[0], c.Key(t, "acme"))
	box := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("1")), Resource: box, ExposeAsEnv: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	key := resourceKey(t, owner, box).key
	pause, long := 2*time.Second, seconds(t) > 0
	if long {
		pause = 30 * time.Second // then the end of a wait and the change may come together
	}
	type answer struct {
		version int64
		at      time.Time
	}
	var answered atomic.Pointer[answer]
	answered.Store(&answer{secret.Version, time.Now()})
	ctx, stop := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer func() { stop(); waiting.Wait() }()
	var latest [replicas + 1]atomic.Int64 // of each agent
	for i := range latest {
		vaults := c.Vaults[:]
		if i < replicas {
			vaults = c.Vaults[i : i+1]
		}
		var agents []*fetch.Client
		for _, v := range vaults {
			agents = append(agents, dial(t, v, key))
		}
		waiting.Go(func() {
			for etag := ""; ctx.Err() == nil; {
				set, err := agents[rand.IntN(len(agents))].Reveal(ctx, box, etag, 20*time.Second)
				// A vault that doesn't notice changes ends waits after 10 seconds.
				if a := answered.Load(); isNotModified(err) && a.version > latest[i].Load() && time.Since(a.at) > 15*time.Second && !long {
					t.Errorf("agent %d waited until the end without version %d", i, a.version)
				}
				if err != nil {
					after(ctx, 100*time.Millisecond)
					continue
				}
				if v := set.Bound[0].Version; v <= latest[i].Load() {
					t.Errorf("agent %d got version %d after %d", i, v, latest[i].Load())
				}
				latest[i].Store(set.Bound[0].Version)
				etag = set.Etag
			}
		})
	}
	rotate := func() {
		t.Helper()
		if now, err := owner.RotateSecret(t.Context(), secret.ID, fetch.Rotation{Value: api.NewValue([]byte("x"))}); err == nil {
			answered.Store(&answer{now.Version, time.Now()})
		} else if !api.Temporary(err) {
			t.Error(err)
		}
	}
	caughtUp := func(after string) {
		t.Helper()
		poll.Until(t, patience, after+": a rotation is answered", func() bool { before := answered.Load(); rotate(); return answered.Load() != before })
		version := answered.Load().version
		for i := range latest {
			poll.Until(t, patience, fmt.Sprintf("%s: agent %d has the latest version", after, i), func() bool { return latest[i].Load() >= version })
		}
	}
	caughtUp("at first")
	for _, f := range faults {
		if f.pauses {
			var rotating sync.WaitGroup
			rotating.Go(rotate) // during the fault
			if err := f.run(t, c, pause); err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
			rotating.Wait()
			caughtUp(f.name)
		}
	}
}

// V7 on three vaults: 100 reveals of a token that has expired, and the schedulers, cause one request to the provider. All get
// the new token.
func TestFault_V7_OneRefreshOnThreeReplicas(t *testing.T) {
	needs.Long(t, "three vaults run with a hundred clients")
	t.Parallel()
	const callers = 100
	var asked atomic.Int64
	held := make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		<-held
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token": "new %d", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "next"}`, n)
	}))
	defer provider.Close()
	file := filepath.Join(t.TempDir(), "oauth.toml")
	err := os.WriteFile(file, fmt.Appendf(nil, "[[provider]]\nname = \"acme\"\nauthorize_url = %q\ntoken_url = %q\nclient_id = \"miosa\"\nclient_auth = \"none\"\n",
		provider.URL+"/authorize", provider.URL+"/token"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, config{Flags: []string{"--oauth-file", file}})
	owner := dial(t, c.Vaults[0], c.Key(t, "acme"))
	box := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	expiry := time.Now().Add(6 * time.Second)
	secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{
		Name: "token", Type: "oauth_connect", Value: api.NewValue([]byte("old")), RefreshToken: api.NewValue([]byte("first")), ExpiresAt: &expiry,
		Metadata: []byte(`{"oauth": {"provider": "acme"}}`), Resource: box, ExposeAsEnv: "TOKEN",
	})
	if err != nil {
		t.Fatal(err)
	}
	key := resourceKey(t, owner, box).key
	for _, v := range c.Vaults[1:] { // which read the schedule then; else they do every 15 seconds
		v.Kill()
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
	}
	after(t.Context(), time.Until(expiry))
	var agents [replicas]*fetch.Client
	for i, v := range c.Vaults {
		agents[i] = dial(t, v, key)
	}
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			got := ""
			poll.Within(patience, func() bool {
				set, err := agents[i%replicas].Reveal(t.Context(), box, "", 0)
				if err == nil && len(set.Bound) == 1 {
					got = set.Bound[0].Value.Reveal()
				}
				return got != ""
			})
			if got != "new 1" {
				t.Errorf("caller %d got %q", i, got)
			}
		})
	}
	poll.Until(t, patience, "the provider is asked", func() bool { return asked.Load() > 0 })
	after(t.Context(), time.Second)
	close(held)
	all.Wait()
	now, err := owner.Secret(t.Context(), secret.ID)
	if n := asked.Load(); n != 1 || err != nil || now.Version != 2 {
		t.Errorf("the provider was asked %d times, version %d, %v", n, now.Version, err)
	}
}

// A revocation at one vault ends waits at all, and after its answer no vault reveals anything with the key.
func TestRevocationReachesAllReplicas(t *testing.T) {
	needs.Long(t, "starts three vaults")
	t.Parallel()
	c := start(t, config{})
	owner := dial(t, c.Vaults[0], c.Key(t, "acme"))
	box := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	_, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("1")), Resource: box, ExposeAsEnv: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		key := resourceKey(t, owner, box)
		ended := make(chan error, replicas)
		var agents [replicas]*fetch.Client
		for i, v := range c.Vaults {
			agents[i] = dial(t, v, key.key)
			set, err := agents[i].Reveal(t.Context(), box, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, err := agents[i].Reveal(t.Context(), box, set.Etag, 50*time.Second)
				ended <- err
			}()
		}
		after(t.Context(), 100*time.Millisecond) // the waits began before; if not, the key is refused all the same
		if err := owner.RevokeResourceKey(t.Context(), key.id); err != nil {
			t.Fatal(err)
		}
		for i, agent := range agents {
			if _, err := agent.Reveal(t.Context(), box, "", 0); !errors.Is(err, api.ErrUnauthorized) {
				t.Errorf("vault %d answers a revoked key with %v", i, err)
			}
		}
		for range agents {
			if err := <-ended; !errors.Is(err, api.ErrUnauthorized) {
				t.Errorf("a wait with a revoked key ends with %v", err)
			}
		}
	}
}

// A vault without its database answers 503, and reveals nothing; the others go on. When it has the database again, it reveals
// what was stored meanwhile.
func TestFault_V5_VaultWithoutItsDatabase(t *testing.T) {
	needs.Long(t, "starts three vaults")
	t.Parallel()
	c := start(t, config{})
	owner := dial(t, c.Vaults[0], c.Key(t, "acme"))
	box := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	secret, _, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "token", Value: api.NewValue([]byte("1")), Resource: box, ExposeAsEnv: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	key := resourceKey(t, owner, box).key
	alone := c.Vaults[1]
	other := dial(t, c.Vaults[2], key)
	agent, err := fetch.New(fetch.Config{BaseURL: alone.URL(), Key: key, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	set, err := agent.Reveal(t.Context(), box, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, fail := range map[string]func() error{"cut off": alone.Cut, "refused": alone.Refuse} {
		if err := fail(); err != nil {
			t.Fatal(err)
		}
		if secret, err = owner.RotateSecret(t.Context(), secret.ID, fetch.Rotation{Value: api.NewValue([]byte("x"))}); err != nil {
			t.Fatal(err)
		}
		for _, etag := range []string{"", set.Etag} {
			if _, err := agent.Reveal(t.Context(), box, etag, 0); !errors.Is(err, api.ErrUnavailable) {
				t.Errorf("%s: the answer is %v", name, err)
			}
		}
		if name == "refused" {
			res, err := http.Get("http://" + alone.addr + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("readyz answers %d: %s", res.StatusCode, text)
			}
		}
		if got, err := other.Reveal(t.Context(), box, "", 0); err != nil || got.Bound[0].Version != secret.Version {
			t.Errorf("%s: another vault: %v", name, err)
		}
		if err := alone.Accept(); err != nil {
			t.Fatal(err)
		}
		alone.Heal()
		poll.Until(t, patience, name+": the vault recovers", func() bool { set, err = agent.Reveal(t.Context(), box, "", 0); return err == nil })
		if set.Bound[0].Version != secret.Version {
			t.Errorf("%s: then it reveals version %d, not %d", name, set.Bound[0].Version, secret.Version)
		}
	}
}
