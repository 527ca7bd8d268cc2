// Package agenttest is shared by tests of the agent and of its socket: sets of one resource, and a server of the
// socket.
package agenttest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/rs/zerolog"
)

// Sandbox is the resource of all sets.
var Sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// Snapshot returns a set with the secret "sec_1" at a version, and more secrets.
func Snapshot(version int64, more ...api.Bound) api.Snapshot {
	return Set(append([]api.Bound{{
		Label: api.Label{ID: "bnd_1", SecretID: "sec_1", ExposeAsEnv: "TOKEN", Version: version},
		Value: api.NewValue(fmt.Appendf(nil, "canary-%d", version)),
	}}, more...))
}

// Set returns a set of bindings.
func Set(bound []api.Bound) api.Snapshot {
	return api.Snapshot{Resource: Sandbox, Etag: api.Etag(Sandbox, api.Labels(bound)), Bound: bound}
}

// Varied returns a set with one of everything a cache carries: an empty value, a long one that expires and isn't UTF-8, and a
// placeholder.
func Varied() api.Snapshot {
	expires := time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC)
	return Snapshot(3,
		api.Bound{Label: api.Label{ID: "bnd_2", SecretID: "sec_2", ExposeAsEnv: "EMPTY", Version: 1}, Value: api.NewValue(nil)},
		api.Bound{Label: api.Label{ID: "bnd_3", SecretID: "sec_3", ExposeAsEnv: "LONG", Version: 9, ExpiresAt: &expires}, Value: api.NewValue(bytes.Repeat([]byte("canary\n\xff"), 100))},
		api.Bound{Label: api.Label{ID: "bnd_4", SecretID: "sec_4", ExposeAsEnv: "TOKEN_2", Version: 2, Delivery: api.DeliverPlaceholder}, Value: api.NewValue([]byte("miosa-tok-x"))},
	)
}

// Server is a socket.Server that serves until the test ends or Stop is called.
type Server struct {
	*socket.Server
	Log  *buffer.Buffer
	Stop func()
}

// Serve serves an engine on a socket in a new directory, which other users may enter.
func Serve(t testing.TB, engine socket.Engine, allow peer.List) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "socket") // the path of t.TempDir is too long
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		err = os.Chmod(dir, 0o755) //nolint:gosec // tests connect as other users
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Log: &buffer.Buffer{}}
	s.Server, err = socket.Listen(socket.Config{
		Path: filepath.Join(dir, "miosa-env", "agent.sock"), Engine: engine, Allow: allow, Log: zerolog.New(s.Log).Level(zerolog.TraceLevel),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Serve(ctx); close(ended) }()
	s.Stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Error("the server doesn't stop")
		}
	})
	t.Cleanup(s.Stop)
	return s
}

// Dial returns a client of the server.
func (s *Server) Dial(t testing.TB) *socket.Client {
	t.Helper()
	c, err := socket.Dial(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Send connects and sends text unchanged.
func (s *Server) Send(t testing.TB, text string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if text != "" {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
