package fetch_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// set is the set of a scripted vault: two values, not sorted by name.
func set() []api.Bound {
	return []api.Bound{
		{Label: api.Label{ID: "bnd_2", SecretID: "sec_2", ExposeAsEnv: "ZED", Version: 3, Delivery: api.DeliverValue}, Value: api.NewValue([]byte("canary-zed"))},
		{Label: api.Label{ID: "bnd_1", SecretID: "sec_1", ExposeAsEnv: "ALPHA", Version: 1, Delivery: api.DeliverValue}, Value: api.NewValue([]byte("canary-alpha"))},
	}
}

// script is a server that counts its requests and answers them with answer(n, ...), n counting from 1.
type script struct {
	*httptest.Server
	busy sync.WaitGroup // responses in progress
	mu   sync.Mutex     // guards seen
	seen []time.Time    // when each request arrived
}

func serve(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *script {
	t.Helper()
	s := &script{}
	s.Server = httptest.NewServer(s.handler(answer))
	t.Cleanup(s.Close)
	return s
}

func (s *script) handler(answer func(n int, w http.ResponseWriter, r *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Done()
		s.mu.Lock()
		s.seen = append(s.seen, time.Now())
		n := len(s.seen)
		s.mu.Unlock()
		answer(n, w, r)
	})
}

func (s *script) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.seen...)
}

// seal answers a reveal like a vault.
func seal(t *testing.T, r *http.Request, bound []api.Bound) api.RevealAnswer {
	t.Helper()
	var ask api.RevealRequest
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		t.Errorf("decode reveal: %v", err)
	}
	a, err := api.Seal(ask.Resource, ask.Recipient, bound)
	if err != nil {
		t.Errorf("seal: %v", err)
	}
	return a
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// client returns a client of a server. It is closed when the test ends.
func client(t *testing.T, baseURL string, change ...func(*fetch.Config)) *fetch.Client {
	t.Helper()
	config := fetch.Config{BaseURL: baseURL, Key: api.NewKey(api.ResourceKeyPrefix)}
	for _, f := range change {
		f(&config)
	}
	c, err := fetch.New(config)
	if err != nil {
		t.Fatalf("new client: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(d time.Duration) func(*fetch.Config) {
	return func(c *fetch.Config) { c.Timeout = d }
}
