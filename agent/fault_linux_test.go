package agent_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// Huge and malformed responses are refused, and don't make the agent grow.
func TestFault_A5_HugeBody(t *testing.T) {
	needs.Long(t, "answers of a GiB")
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	for range 1024 {
		_, _ = zip.Write(make([]byte, 1<<20))
	}
	_ = zip.Close()
	endless := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "application/json")
		piece := []byte(strings.Repeat(text, 1<<16/len(text)))
		for sent := 0; sent < 1<<30; sent += len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
	}{
		{"1 GiB, with its length", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "1073741824"); endless(w, " ") }},
		{"1 GiB in chunks", func(w http.ResponseWriter) { endless(w, " ") }},
		{"one string of 1 GiB", func(w http.ResponseWriter) { endless(w, `{"etag":"x`) }},
		{"deep JSON", func(w http.ResponseWriter) { endless(w, `[`) }},
		{"deep JSON within the limit", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, strings.Repeat(`{"data":`, 15<<20/8))
		}},
		{"refusal of 1 GiB", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable); endless(w, `{"error":"x`) }},
		{"a gzip bomb", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}},
		{"headers of 1 GiB", func(w http.ResponseWriter) {
			for i := range 1 << 14 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1<<16))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tt.answer(w) }))
			defer server.Close()
			key, _ := api.ParseKey(someKey)
			p := spawn(t, agentVariable, agentProcess{BaseURL: server.URL, KeyFile: keyFile(t, key)}, nil)
			said := p.await(t, 2*time.Minute, "three answers are refused", func(s served) bool { return s.Failures >= 3 })
			if peak := peakMemory(t, p.Process.Pid); peak > 64<<20 && !needs.Raced {
				t.Errorf("%d MiB of memory", peak>>20)
			} else {
				t.Logf("%d MiB of memory: %s", peak>>20, said[len(said)-1].Error)
			}
			p.kill()
		})
	}
}

// A vault is killed repeatedly during a wait. The agent misses no version and never returns to an older one.
func TestFault_A10_VaultKilledMidWait(t *testing.T) {
	vaulttest.OneVault(t, "its vault is a process on SQLite")
	t.Parallel() // most of it is waiting
	root := filepath.Join(t.TempDir(), "root")
	err := newfile.Write(root, func() (string, error) {
		key, err := keyring.NewRoot()
		return key.Reveal(), err
	})
	if err != nil {
		t.Fatal(err)
	}
	v := vaulttest.Start(t, func(c *vault.Config) { c.Store.RootKey = keyring.Root{File: root} })
	secret := v.Put(t, "token", "value 1", sandbox, "TOKEN")
	key, tenant := v.ResourceKey(t, sandbox), v.TenantKey
	v.Stop(t)
	server := vaultProcess{DataDir: v.DataDir(), RootKey: root, Addr: v.Addr()}

	a, stop := realAgent(t, v.BaseURL, key.Reveal(), agent.Config{})
	defer stop()
	watching, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex // guards versions
	var versions []int64
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for etag := ""; ; {
			set, err := a.Wait(watching, etag)
			if err != nil {
				return
			}
			etag = set.Etag
			mu.Lock()
			versions = append(versions, set.Bound[0].Version)
			mu.Unlock()
		}
	})
	last := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		if len(versions) == 0 {
			return 0
		}
		return versions[len(versions)-1]
	}
	operator, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: tenant, Timeout: time.Minute})
	must(t, err)
	defer operator.Close()

	rounds := 200
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		p := spawn(t, vaultVariable, server, nil)
		var now int64
		poll.Until(t, time.Minute, "the vault answers", func() bool {
			s, err := operator.Secret(t.Context(), secret)
			now = s.Version
			return err == nil
		})
		if round%3 != 0 { // in the other rounds only the kill happens
			s, err := operator.RotateSecret(t.Context(), secret, fetch.Rotation{Value: api.NewValue(fmt.Appendf(nil, "value %d", now+1))})
			must(t, err)
			now = s.Version
		}
		switch round % 4 {
		case 0: // killed while the agent waits
			poll.Until(t, time.Minute, "the version arrives", func() bool { return last() == now && a.Status().State == agent.Fresh })
		case 1: // killed as the version arrives
			poll.Until(t, time.Minute, "the version arrives", func() bool { return last() == now })
		case 2, 3: // killed in any state of the agent
		}
		p.kill()
	}
	p := spawn(t, vaultVariable, server, nil)
	s, err := operator.Secret(t.Context(), secret)
	must(t, err)
	poll.Until(t, time.Minute, "the last version arrives", func() bool { return last() == s.Version && a.Status().State == agent.Fresh })
	set, _ := a.Snapshot()
	if got := first(set); got != fmt.Sprintf("value %d", s.Version) {
		t.Errorf("version %d has the value of another version", s.Version)
	}
	cancel()
	watcher.Wait()
	if !slices.IsSorted(versions) {
		t.Errorf("versions are not ascending: %v", versions)
	}
	p.kill()
	t.Logf("killed %d times, %d of %d versions seen", rounds, len(versions), s.Version)
}

// middle is a proxy between agents and a vault. It records public keys, and can make all connections hang, as if the
// other end were gone.
type middle struct {
	*httptest.Server
	mu   sync.Mutex // guards the fields below
	keys [][]byte
	dead chan struct{} // closed: earlier requests get no response
	gone chan struct{} // closed at the end of the test
}

func newMiddle(t *testing.T, target string) *middle {
	t.Helper()
	to, err := url.Parse(target)
	must(t, err)
	m := &middle{dead: make(chan struct{}), gone: make(chan struct{})}
	relay := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	relay.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the agent canceled this request while sending it, so its key is incomplete
		}
		var ask api.RevealRequest
		if err := json.Unmarshal(body, &ask); err != nil || len(ask.Recipient.PublicKey) != api.PublicKeySize {
			t.Errorf("a request without a public key: %v", err)
		}
		m.mu.Lock()
		m.keys = append(m.keys, ask.Recipient.PublicKey)
		dead := m.dead
		m.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		answered := make(chan struct{})
		go func() { defer close(answered); relay.ServeHTTP(answer, r) }()
		select {
		case <-dead:
		case <-answered:
			select {
			case <-dead:
			default:
				for name, values := range answer.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes())
				return
			}
		}
		<-m.gone // no response and no EOF
		<-answered
	}))
	t.Cleanup(func() { close(m.gone); m.CloseClientConnections(); m.Close() })
	return m
}

// cut makes all connections hang.
func (m *middle) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.dead)
	m.dead = make(chan struct{})
}

// A machine is paused, its connections die silently, the secret is rotated, and the machine is resumed, alone and as two
// clones, repeatedly and without pauses. Each gets the new value within a second, and no key pair is used twice.
func TestFault_A20_PausedMachine(t *testing.T) {
	v := vaulttest.Start(t)
	secret := v.Put(t, "token", "value 0", sandbox, "TOKEN")
	m := newMiddle(t, v.BaseURL)
	conf := agentProcess{BaseURL: m.URL + "/api/v1", KeyFile: keyFile(t, v.ResourceKey(t, sandbox))}
	twins := []*process{spawn(t, agentVariable, conf, nil), spawn(t, agentVariable, conf, nil)}
	for _, p := range twins {
		p.await(t, time.Minute, "the first set", serves("value 0"))
	}
	const rounds = 10
	var took []time.Duration
	for i := 1; i <= rounds; i++ {
		for _, p := range twins {
			p.pause(t)
		}
		value := fmt.Sprint("value ", i)
		m.cut()
		v.Rotate(t, secret, value)
		if i%2 == 0 {
			v.Restart(t)
		}
		resumed := time.Now()
		for _, p := range twins {
			must(t, p.Process.Signal(syscall.SIGCONT))
		}
		for _, p := range twins {
			p.await(t, time.Minute, "the value of meanwhile", serves(value))
			took = append(took, time.Since(resumed))
		}
	}
	slices.Sort(took)
	// 90% of the rounds, because the machine is busy with other tests. In a slow round both clones are late.
	if worst := took[len(took)*9/10-1]; worst > time.Second {
		t.Errorf("fresh after %s", took)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keys) < 2*(1+rounds) { // each value reached each clone by a request with its own key pair
		t.Errorf("%d requests", len(m.keys))
	}
	for i, key := range m.keys {
		for _, other := range m.keys[:i] {
			if bytes.Equal(key, other) {
				t.Fatal("a key pair was used twice")
			}
		}
	}
	t.Logf("%d requests, fresh after %s", len(m.keys), took)
}
