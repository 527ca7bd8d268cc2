// Package tamper has a reverse proxy that changes responses, as anything that terminates TLS between a client and a vault can.
package tamper

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
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
	t       testing.TB
	vault   http.Transport
	reveals atomic.Int32

	mu     sync.Mutex // guards the fields below
	change func(body []byte) []byte
	denied bool
	turned context.Context // ends when denied changes
	turn   context.CancelFunc
}

// New starts a proxy for the vault with a base URL. It changes nothing until Change or Deny. It stops when the test ends.
func New(t testing.TB, vault string) *Proxy {
	t.Helper()
	to, err := url.Parse(vault)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{t: t, change: Unchanged}
	p.turned, p.turn = context.WithCancel(context.Background())
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, "" },
		Transport:      p,
		ModifyResponse: p.modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // the vault or the client is gone
	})
	p.BaseURL = server.URL + to.Path
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); p.vault.CloseIdleConnections(); p.turn() })
	return p
}

func isReveal(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/bindings/reveal") }

// RoundTrip sends a request to the vault. If Deny is called meanwhile, it sends it again, the other way.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(cmp.Or[io.ReadCloser](r.Body, http.NoBody))
	if err != nil {
		return nil, err
	}
	if isReveal(r) {
		p.reveals.Add(1)
	}
	for {
		p.mu.Lock()
		ask, turned := body, p.turned
		if p.denied {
			ask = forAnother(p.t, body)
		}
		p.mu.Unlock()
		ctx, cancel := context.WithCancel(r.Context())
		answered := context.AfterFunc(turned, cancel)
		out := r.Clone(ctx)
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(ask)), int64(len(ask))
		if answer, err := p.vault.RoundTrip(out); answered() {
			return answer, err
		} else if err == nil {
			_ = answer.Body.Close()
		}
	}
}

// modify changes a response of the vault.
func (p *Proxy) modify(answer *http.Response) error {
	if !isReveal(answer.Request) || answer.StatusCode != http.StatusOK {
		return nil
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	p.mu.Lock()
	change := p.change
	p.mu.Unlock()
	text = change(text)
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
	answer.Body = io.NopCloser(bytes.NewReader(text))
	return nil
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
	p.turn()
	p.turned, p.turn = context.WithCancel(context.Background())
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
