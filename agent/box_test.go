package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// box stands between an agent and a real vault: what a proxy is that ends TLS. It can change answers, and
// can ask for another resource than the agent did, which the vault answers with a 403 of its own.
type box struct {
	*httptest.Server
	mu     sync.Mutex // guards the fields below
	change func(body []byte) []byte
	denied bool
	turn   chan struct{} // closed when denied changes
}

func newBox(t *testing.T, base string) *box {
	t.Helper()
	to, err := url.Parse(base)
	must(t, err)
	b := &box{change: unchanged, turn: make(chan struct{})}
	transport := &http.Transport{}
	pass := func(ctx context.Context, r *http.Request, body []byte) (*http.Response, []byte, error) {
		out := r.Clone(ctx)
		out.URL.Scheme, out.URL.Host, out.Host, out.RequestURI = to.Scheme, to.Host, "", ""
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		answer, err := transport.RoundTrip(out)
		if err != nil {
			return nil, nil, err
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		return answer, text, err
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		for r.Context().Err() == nil {
			b.mu.Lock()
			denied, turn := b.denied, b.turn
			b.mu.Unlock()
			ask := body
			if denied {
				ask = forAnother(t, body)
			}
			ctx, cancel := context.WithCancel(r.Context())
			go func() {
				select {
				case <-turn: // and ask the other way
				case <-ctx.Done():
				}
				cancel()
			}()
			answer, text, err := pass(ctx, r, ask)
			cancel()
			if err != nil {
				select {
				case <-turn:
					continue
				default: // the vault is gone, or who asked
					return
				}
			}
			b.mu.Lock()
			change := b.change
			b.mu.Unlock()
			if answer.StatusCode == http.StatusOK {
				text = change(text)
			}
			for name, values := range answer.Header {
				w.Header()[name] = values
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			w.WriteHeader(answer.StatusCode)
			_, _ = w.Write(text)
			return
		}
	}))
	t.Cleanup(func() { b.CloseClientConnections(); b.Close(); transport.CloseIdleConnections() })
	return b
}

func unchanged(body []byte) []byte { return body }

// deny has the vault refuse from now on, or no longer, also who waits.
func (b *box) deny(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.denied = yes
	close(b.turn)
	b.turn = make(chan struct{})
}

// tamper has answers changed from now on.
func (b *box) tamper(change func(body []byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change = change
}

// forAnother is a request for another resource.
func forAnother(t *testing.T, body []byte) []byte {
	var ask api.RevealRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		t.Errorf("a request that can't be read: %v", err)
	}
	ask.Resource.ID = "sb_other"
	out, err := json.Marshal(ask)
	if err != nil {
		t.Error(err)
	}
	return out
}
