package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

const revealRoute = "POST /egress/bindings/reveal"

// patience is far longer than any step takes. Exceeding it is a failure.
const patience = 20 * time.Second

// waiting is a waiting reveal.
type waiting struct {
	opener *api.Opener
	cancel context.CancelFunc
	begun  time.Time
	done   chan answer // closed without an answer if the connection broke
}

// hold sends a reveal with the current etag and returns once the vault holds it.
func hold(t testing.TB, s *vaulttest.Server, key api.Key, r api.Resource, etag string, seconds int) *waiting {
	t.Helper()
	body, opener := revealOf(t, r, etag, seconds)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "POST", s.BaseURL+"/egress/bindings/reveal", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key.Reveal())
	before := held(t, s)
	w := &waiting{opener: opener, cancel: cancel, begun: time.Now(), done: make(chan answer, 1)}
	go func() {
		defer close(w.done)
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			return
		}
		defer func() { _ = res.Body.Close() }()
		if text, err := io.ReadAll(res.Body); err == nil {
			w.done <- answer{res.StatusCode, res.Header, text}
		}
	}()
	poll.Until(t, patience, "the vault holds the reveal", func() bool { return held(t, s) == before+1 || len(w.done) > 0 })
	return w
}

// held returns the number of waiting reveals, from the vault's metrics.
func held(t testing.TB, s *vaulttest.Server) int {
	t.Helper()
	return metric(t, s, "miosa_vault_waiting_reveals")
}

// metric returns the sum of a number of /metrics over the vaults. A number that is absent is 0.
func metric(t testing.TB, s *vaulttest.Server, name string) (sum int) {
	t.Helper()
	for _, addr := range s.Vaults() {
		for line := range strings.Lines(string(send(t, api.Key{}, "GET", "http://"+addr+"/metrics", "").body)) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				var n int
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
	}
	return sum
}

// ends waits for the response and checks its status.
func (w *waiting) ends(t testing.TB, status int) answer {
	t.Helper()
	select {
	case a, ok := <-w.done:
		if !ok {
			t.Fatal("the connection broke")
		}
		if a.status != status {
			t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
		}
		return a
	case <-time.After(patience):
		t.Fatal("still waiting")
	}
	panic("unreachable")
}

func (w *waiting) opens(t testing.TB) api.Snapshot {
	t.Helper()
	var sealed api.RevealAnswer
	if err := json.Unmarshal(w.ends(t, http.StatusOK).body, &sealed); err != nil {
		t.Fatal(err)
	}
	snapshot, err := w.opener.Open(sealed)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// A rotation is delivered in the response to the waiting request.
func TestRotationEndsTheWait(t *testing.T) {
	s := vaulttest.Start(t)
	id, key := s.Put(t, "github", "one", sandbox, "GH_TOKEN"), s.ResourceKey(t, sandbox)
	first := reveal(t, s, key, sandbox)
	before := s.Requests(revealRoute)
	w := hold(t, s, key, sandbox, first.Etag, 60)
	s.Rotate(t, id, "two")
	got := w.opens(t)
	if diff := cmp.Diff(map[string]string{"GH_TOKEN": "two"}, values(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Etag == first.Etag || got.Bound[0].Version != 2 {
		t.Errorf("etag %s, version %d", got.Etag, got.Bound[0].Version)
	}
	if n := s.Requests(revealRoute) - before; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// Every change of the set ends the wait, and other changes do not.
func TestWhatEndsTheWait(t *testing.T) {
	s := vaulttest.Start(t)
	a := s.Put(t, "a", "1", sandbox, "A")
	b := s.Put(t, "b", "1", other, "B")
	key := s.ResourceKey(t, sandbox)
	bind := func(env string) string {
		return decode[struct{ Data api.Binding }](t, ask(t, s, s.TenantKey, "POST", "/egress/bindings", toJSON(t, map[string]string{
			"secret_id": b, "resource_type": sandbox.Type, "resource_id": sandbox.ID, "expose_as_env": env}))).Data.ID
	}
	var bound string
	for _, c := range []struct {
		name   string
		change func()
		want   map[string]string
	}{
		{"bound", func() { bound = bind("B2") }, map[string]string{"A": "1", "B2": "1"}},
		{"rotated where it was bound later", func() { s.Rotate(t, b, "2") }, map[string]string{"A": "1", "B2": "2"}},
		{"replaced", func() { s.Put(t, "a", "2", sandbox, "A") }, map[string]string{"A": "2", "B2": "2"}},
		{"unbound", func() { ask(t, s, s.TenantKey, "DELETE", "/egress/bindings/"+bound, "") }, map[string]string{"A": "2"}},
		{"deleted", func() { s.Delete(t, a) }, map[string]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := hold(t, s, key, sandbox, reveal(t, s, key, sandbox).Etag, 60)
			s.Put(t, "c", c.name, other, "C") // a change of another resource
			if n := held(t, s); n != 1 {
				t.Fatalf("%d wait after a change of another resource", n)
			}
			c.change()
			if diff := cmp.Diff(c.want, values(w.opens(t))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An etag that differs from the current one is answered at once.
func TestStaleEtagIsAnsweredAtOnce(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put(t, "a", "1", sandbox, "A")
	key := s.ResourceKey(t, sandbox)
	body, _ := revealOf(t, sandbox, "an old one", 60)
	if a := ask(t, s, key, "POST", "/egress/bindings/reveal", body); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
}

func TestWaitEndsWithoutAChange(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put(t, "a", "1", sandbox, "A")
	key := s.ResourceKey(t, sandbox)
	etag := reveal(t, s, key, sandbox).Etag
	for _, seconds := range []int{0, 1} {
		t.Run(fmt.Sprint(seconds, "s"), func(t *testing.T) {
			begun := time.Now()
			body, _ := revealOf(t, sandbox, etag, seconds)
			a := ask(t, s, key, "POST", "/egress/bindings/reveal", body)
			if a.status != http.StatusNotModified || len(a.body) != 0 || a.header.Get("X-Request-ID") == "" {
				t.Errorf("status %d, body %q, header %v", a.status, a.body, a.header)
			}
			if took := time.Since(begun); took < time.Duration(seconds)*time.Second {
				t.Errorf("waited %v only", took)
			}
		})
	}
}

// When a key is revoked or expires, its waits end at once.
func TestRevocationEndsTheWait(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put(t, "a", "1", sandbox, "A")
	key, id := s.MintResourceKey(t, sandbox)
	stays := s.ResourceKey(t, sandbox)
	etag := reveal(t, s, key, sandbox).Etag
	w, still := hold(t, s, key, sandbox, etag, 60), hold(t, s, stays, sandbox, etag, 60)
	s.Revoke(t, id)
	wantRefusal(t, w.ends(t, http.StatusUnauthorized), api.ErrUnauthorized, "revoked")
	if n := held(t, s); n != 1 {
		t.Errorf("%d wait, want the one under the other key", n)
	}
	still.cancel()
	poll.Until(t, patience, "the wait of a disconnected caller ends", func() bool { return held(t, s) == 0 })
}

func TestExpiryEndsTheWait(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := vaulttest.Start(t)
	s.Put(t, "stays", "1", sandbox, "STAYS")
	key := s.ResourceKey(t, sandbox)
	soon := func() string { return time.Now().Add(3 * time.Second).UTC().Format(time.RFC3339Nano) }
	t.Run("of a secret", func(t *testing.T) {
		s.PutSecret(t, map[string]any{"name": "goes", "value": "1", "resource_type": sandbox.Type, "resource_id": sandbox.ID,
			"expose_as_env": "GOES", "expires_at": soon()})
		got := hold(t, s, key, sandbox, reveal(t, s, key, sandbox).Etag, 60).opens(t)
		if diff := cmp.Diff(map[string]string{"STAYS": "1"}, values(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("of the key", func(t *testing.T) {
		made := decode[struct{ Data api.IssuedKey }](t, ask(t, s, s.TenantKey, "POST", "/egress/resource-keys",
			toJSON(t, map[string]string{"resource_type": sandbox.Type, "resource_id": sandbox.ID, "expires_at": soon()})))
		ends, err := api.ParseKey(made.Data.Key)
		if err != nil {
			t.Fatal(err)
		}
		w := hold(t, s, ends, sandbox, reveal(t, s, key, sandbox).Etag, 60)
		wantRefusal(t, w.ends(t, http.StatusUnauthorized), api.ErrUnauthorized, "")
	})
}

// When the vault stops, waiting reveals are answered at once, requests in progress finish, and no connection is
// cut off.
func TestStopWithWaitingReveals(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put(t, "a", "1", sandbox, "A")
	key := s.ResourceKey(t, sandbox)
	etag := reveal(t, s, key, sandbox).Etag
	var all []*waiting
	for range 20 {
		all = append(all, hold(t, s, key, sandbox, etag, 60))
	}
	begun := time.Now()
	s.Stop(t)
	if took := time.Since(begun); took > 8*time.Second { // 10 s is the time after which connections are cut off
		t.Errorf("stopping took %v", took)
	}
	for _, w := range all {
		a := w.ends(t, http.StatusServiceUnavailable)
		wantRefusal(t, a, api.ErrUnavailable, "stopping")
	}
	s.Restart(t)
	if got := values(reveal(t, s, key, sandbox)); got["A"] != "1" {
		t.Error("the value was not stored")
	}
}

// A change made by the command line, a process of its own, ends the wait.
func TestAnotherProcessEndsTheWait(t *testing.T) {
	vaulttest.OneVault(t, "it opens the database with the vault's configuration")
	var conf store.Config
	s := vaulttest.Start(t, func(c *vault.Config) { conf = c.Store })
	id := s.Put(t, "a", "1", sandbox, "A")
	key, keyID := s.MintResourceKey(t, sandbox)
	elsewhere, err := store.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = elsewhere.Close() }()
	operator, err := elsewhere.LocalActor(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	w := hold(t, s, key, sandbox, reveal(t, s, key, sandbox).Etag, 60)
	if _, err := elsewhere.RotateSecret(t.Context(), operator, id, store.Rotation{Value: api.NewValue([]byte("2"))}); err != nil {
		t.Fatal(err)
	}
	got := w.opens(t)
	if values(got)["A"] != "2" {
		t.Error("the value is not the new one")
	}
	w = hold(t, s, key, sandbox, got.Etag, 60)
	if err := elsewhere.RevokeKey(t.Context(), keyID); err != nil {
		t.Fatal(err)
	}
	w.ends(t, http.StatusUnauthorized)
}

// With placeholder delivery, a reveal contains the placeholder and not the value.
func TestPlaceholderIsWhatIsRevealed(t *testing.T) {
	s := vaulttest.Start(t)
	s.PutSecret(t, map[string]any{"name": "a", "value": "never", "resource_type": sandbox.Type, "resource_id": sandbox.ID,
		"expose_as_env": "A", "delivery": "placeholder"})
	got := reveal(t, s, s.ResourceKey(t, sandbox), sandbox)
	bindings := decode[struct{ Bindings []api.Binding }](t, ask(t, s, s.TenantKey, "GET", "/egress/bindings", "")).Bindings
	if diff := cmp.Diff(map[string]string{"A": bindings[0].PlaceholderToken}, values(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One key cannot take every connection: beyond a number of waits it gets 429.
func TestWaitsOfOneKey(t *testing.T) {
	vaulttest.OneVault(t, "limits are each vault's")
	s := vaulttest.Start(t)
	key, another := s.ResourceKey(t, sandbox), s.ResourceKey(t, sandbox)
	etag := reveal(t, s, key, sandbox).Etag
	var all []*waiting
	for range 64 {
		all = append(all, hold(t, s, key, sandbox, etag, 60))
	}
	body, _ := revealOf(t, sandbox, etag, 60)
	wantRefusal(t, ask(t, s, key, "POST", "/egress/bindings/reveal", body), api.ErrRateLimited, "wait under this key")
	if n := len(reveal(t, s, key, sandbox).Bound); n != 0 { // reveals that do not wait are not counted
		t.Errorf("%d bound", n)
	}
	hold(t, s, another, sandbox, etag, 60).cancel()
	s.Put(t, "a", "1", sandbox, "A")
	for _, w := range all {
		w.ends(t, http.StatusOK)
	}
}

// When a tenant gives up a connection, it is one that serves no request: a waiting reveal is one.
func TestWaitingConnectionIsNotIdle(t *testing.T) {
	vaulttest.OneVault(t, "each replica has its own limits of connections")
	s := vaulttest.Start(t, func(c *vault.Config) { // 6 connections with a key
		c.Limits[limit.Connections], c.Limits[limit.KeylessConnections], c.Limits[limit.AddressConnections] = 26, 20, 20
	})
	owner := s.Tenant(t, "most")
	ask(t, s, owner, "POST", "/egress/secrets", `{"name":"a","value":"1","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"A"}`)
	made := ask(t, s, owner, "POST", "/egress/resource-keys", toJSON(t, sandbox))
	key, err := api.ParseKey(decode[struct{ Data struct{ Key string } }](t, made).Data.Key)
	if err != nil {
		t.Fatal(err)
	}
	etag := reveal(t, s, key, sandbox).Etag
	w := hold(t, s, key, sandbox, etag, 60)
	var open []*http.Transport
	for _, tenant := range []string{"most", "most", "b", "c", "d", "e"} {
		open = append(open, idle(t, s, s.Tenant(t, tenant)))
	}
	for _, transport := range open {
		transport.CloseIdleConnections()
	}
	poll.Until(t, patience, "a place to rotate the secret", func() bool {
		body := `{"name":"a","value":"2","resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"A"}`
		return ask(t, s, owner, "POST", "/egress/secrets", body).status == http.StatusOK
	})
	if got := values(w.opens(t))["A"]; got != "2" {
		t.Errorf("got %q", got)
	}
}

// idle opens a connection, sends a request with a key, and leaves the connection open. It has a transport of its own.
func idle(t testing.TB, s *vaulttest.Server, key api.Key) *http.Transport {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.BaseURL+"/egress/keys/self", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key.Reveal())
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", res.StatusCode, err)
	}
	return transport
}
