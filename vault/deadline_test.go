package vault_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// pipeListener is a listener with in-memory connections, for use in a synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	ctx   context.Context
	close context.CancelFunc

	stop  context.CancelFunc // ends Serve
	ended chan error         // receives the error of Serve and is then closed
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error { p.close(); return nil }

func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "test"} }

func (p *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

// inBubble serves a vault on in-memory connections in a synctest bubble.
func inBubble(t *testing.T, do func(t *testing.T, v *vault.Vault, p *pipeListener)) {
	dir := t.TempDir()
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		v, err := vault.Open(t.Context(), vault.Config{
			Store: store.Config{DataDir: dir, RootKey: keyring.Root{Text: root}, Watch: time.Second},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := &pipeListener{conns: make(chan net.Conn)}
		p.ctx, p.close = context.WithCancel(context.Background())
		var ctx context.Context
		ctx, p.stop = context.WithCancel(context.Background())
		p.ended = make(chan error, 1)
		go func() { p.ended <- v.Serve(ctx, p); close(p.ended) }()
		do(t, v, p)
		p.stop()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A connection that sends too little for too long is closed.
func TestSlowConnections(t *testing.T) {
	for _, c := range []struct {
		name, said string
		after      time.Duration
	}{
		{"nothing", "", 5 * time.Second},
		{"half a header", "GET /healthz HTTP/1.1\r\nHost:", 5 * time.Second},
		{"half a body", "POST /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 100\r\n\r\n{", 10 * time.Second},
		{"a body without a key", "POST /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", 5 * time.Second},
		{"nothing more", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 5 * time.Second},
		{"nothing more, with a key", "GET /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n", 2 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, v *vault.Vault, p *pipeListener) {
				made, err := v.Store().CreateTenantKey(t.Context(), "test")
				if err != nil {
					t.Fatal(err)
				}
				conn, _ := p.dial(t.Context(), "", "")
				defer func() { _ = conn.Close() }()
				begun := time.Now()
				go func() { _, _ = io.WriteString(conn, strings.Replace(c.said, "KEY", made.Key.Reveal(), 1)) }()
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Error(err)
				}
				// One second more for the server's closing of the connection.
				if took := time.Since(begun); took < c.after || took > c.after+time.Second {
					t.Errorf("closed after %v, want %v", took, c.after)
				}
			})
		})
	}
}

// A request in progress when the vault stops is answered. One that takes longer than the stop timeout is cut off,
// and the vault still stops.
func TestStopWithRequestsUnderWay(t *testing.T) {
	for _, c := range []struct {
		name     string
		rest     time.Duration // when the rest of the body is sent
		answered bool
		took     time.Duration
	}{
		{"in time", 9 * time.Second, true, 9 * time.Second},
		{"never", time.Hour, false, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, v *vault.Vault, p *pipeListener) {
				made, err := v.Store().CreateTenantKey(t.Context(), "test")
				if err != nil {
					t.Fatal(err)
				}
				conn, _ := p.dial(t.Context(), "", "")
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "POST /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+
					made.Key.Reveal()+"\r\nContent-Length: 24\r\n\r\n")
				synctest.Wait()
				rest := time.AfterFunc(c.rest, func() { _, _ = io.WriteString(conn, `{"name":"a","value":"v"}`) })
				defer rest.Stop()
				begun := time.Now()
				p.stop()
				text, _ := io.ReadAll(conn)
				if answered := strings.HasPrefix(string(text), "HTTP/1.1 201"); answered != c.answered {
					t.Errorf("answered: %v", answered)
				}
				if err := <-p.ended; err != nil {
					t.Error(err)
				}
				// The server checks its connections every half second.
				if took := time.Since(begun); took < c.took || took > c.took+time.Second {
					t.Errorf("stopped after %v, want %v", took, c.took)
				}
			})
		})
	}
}

// waitingAgent returns a function that waits for a change of sandbox's empty set and returns the status, or 0 when ctx ends.
func waitingAgent(t *testing.T, v *vault.Vault, p *pipeListener) (operator store.Actor, wait func(ctx context.Context) (status int)) {
	t.Helper()
	if _, err := v.Store().CreateTenantKey(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	operator, err := v.Store().LocalActor(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	made, err := v.Store().CreateResourceKey(t.Context(), operator, sandbox, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: p.dial}}
	t.Cleanup(client.CloseIdleConnections)
	return operator, func(ctx context.Context) int {
		t.Helper()
		body, _ := revealOf(t, sandbox, api.Etag(sandbox, nil), int(api.MaxWait/time.Second))
		req, err := http.NewRequestWithContext(ctx, "POST", "http://vault/api/v1/egress/bindings/reveal", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+made.Key)
		res, err := client.Do(req)
		if err != nil {
			if ctx.Err() == nil {
				t.Fatal(err)
			}
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
}

// No deadline of the connection shortens the longest wait, also for the second wait on a connection.
func TestLongestWait(t *testing.T) {
	inBubble(t, func(t *testing.T, v *vault.Vault, p *pipeListener) {
		_, wait := waitingAgent(t, v, p)
		for range 2 {
			begun := time.Now()
			if status := wait(t.Context()); status != http.StatusNotModified || time.Since(begun) != api.MaxWait {
				t.Errorf("status %d after %v, want 304 after 60 s", status, time.Since(begun))
			}
		}
	})
}

// While the turns of a tenant's reveals hang, a wait ends in time, and so does one whose client is gone.
func TestWaitEndsWithoutATurn(t *testing.T) {
	inBubble(t, func(t *testing.T, v *vault.Vault, p *pipeListener) {
		operator, wait := waitingAgent(t, v, p)
		const turns = 128
		for range turns {
			defer v.Store().WokenTurn(operator)()
		}
		within := func(d time.Duration) (status int, took time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			begun := time.Now()
			return wait(ctx), time.Since(begun)
		}
		if status, took := within(2 * api.MaxWait); status != http.StatusNotModified || took != api.MaxWait {
			t.Errorf("status %d after %v, want 304 after 60 s", status, took)
		}
		if status, _ := within(time.Second); status != 0 {
			t.Errorf("status %d", status)
		}
		synctest.Wait()
		if n := v.Waiting(); n != 0 {
			t.Errorf("%d reveals wait whose client is gone", n)
		}
	})
}
