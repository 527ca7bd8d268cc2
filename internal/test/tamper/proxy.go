// Package tamper has a reverse proxy that changes responses, as anything that terminates TLS between a client and a vault can.
package tamper

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// Proxy forwards requests to a vault. It changes the responses to reveals, or requests another resource than the client did,
// which the vault refuses with 403.
type Proxy struct {
	BaseURL string // of the vault's API, through the proxy
	reveals atomic.Int32

	mu     sync.Mutex // guards the fields below
	change func(body []byte) []byte
	denied bool
	turned chan struct{} // closed when denied changes
}

// New starts a proxy for the vault with a base URL. It changes nothing until Change or Deny. It stops when the test ends.
func New(t testing.TB, vault string) *Proxy {
	t.Helper()
	to, err := url.Parse(vault)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{change: Unchanged, turned: make(chan struct{})}
	transport := &http.Transport{}
	pass := func(ctx context.Context, r *http.Request, body []byte) (status int, header http.Header, text []byte, err error) {
		out := r.Clone(ctx)
		out.URL.Scheme, out.URL.Host, out.Host, out.RequestURI = to.Scheme, to.Host, "", ""
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		answer, err := transport.RoundTrip(out)
		if err != nil {
			return 0, nil, nil, err
		}
		defer func() { _ = answer.Body.Close() }()
		text, err = io.ReadAll(answer.Body)
		return answer.StatusCode, answer.Header, text, err
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		reveal := strings.HasSuffix(r.URL.Path, "/bindings/reveal")
		if reveal {
			p.reveals.Add(1)
		}
		for r.Context().Err() == nil {
			p.mu.Lock()
			denied, turned := p.denied, p.turned
			p.mu.Unlock()
			ask := body
			if denied {
				ask = forAnother(t, body)
			}
			ctx, cancel := context.WithCancel(r.Context())
			go func() {
				select {
				case <-turned: // send the request again, the other way
				case <-ctx.Done():
				}
				cancel()
			}()
			status, header, text, err := pass(ctx, r, ask)
			cancel()
			if err != nil {
				select {
				case <-turned:
					continue
				default: // the vault or the client is gone
					return
				}
			}
			p.mu.Lock()
			change := p.change
			p.mu.Unlock()
			if reveal && status == http.StatusOK {
				text = change(text)
			}
			for name, values := range header {
				w.Header()[name] = values
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			w.WriteHeader(status)
			_, _ = w.Write(text)
			return
		}
	}))
	p.BaseURL = server.URL + to.Path
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); transport.CloseIdleConnections() })
	return p
}

// Change sets the function that changes the bodies of responses to reveals.
func (p *Proxy) Change(change func(body []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change = change
}

// Deny makes the vault refuse all requests, including those that are waiting, or stops doing so.
func (p *Proxy) Deny(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denied = yes
	close(p.turned)
	p.turned = make(chan struct{})
}

// Reveals returns the number of reveals that clients have requested.
func (p *Proxy) Reveals() int { return int(p.reveals.Load()) }

// Unchanged is for Change. It returns body.
func Unchanged(body []byte) []byte { return body }

// Edit returns a function for Change that changes the fields of a response.
func Edit(change func(a *api.RevealAnswer)) func(body []byte) []byte {
	return func(body []byte) []byte {
		var answer api.RevealAnswer
		if json.Unmarshal(body, &answer) != nil {
			return body
		}
		change(&answer)
		out, err := json.Marshal(answer)
		if err != nil {
			return body
		}
		return out
	}
}

// forAnother returns a request for another resource.
func forAnother(t testing.TB, body []byte) []byte {
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
