package socket_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/google/go-cmp/cmp"
)

func TestDialNoListener(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(os.TempDir(), fmt.Sprintf("dead%d.sock", os.Getpid()))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	defer func() { _ = os.Remove(dead) }()
	for path, want := range map[string]error{
		filepath.Join(dir, "none"): socket.ErrNoAgent, dead: socket.ErrNoAgent, "": socket.ErrNoAgent,
		file: socket.ErrNotSocket, filepath.Join(file, "below"): socket.ErrNotSocket, dir: socket.ErrNotSocket,
		strings.Repeat("/x", 200): socket.ErrNotSocket,
	} {
		if _, err := socket.Dial(path); !errors.Is(err, want) {
			t.Errorf("dial %.40q: %v, want %v", path, err, want)
		}
	}
	if _, err := socket.Dial(filepath.Join(dir, "none"), file, dead); !errors.Is(err, socket.ErrNotSocket) {
		t.Errorf("a file among paths without a listener: %v", err)
	}
	at := agenttest.Serve(t, newFakeEngine(many(1)), peer.List{})
	c, err := socket.Dial(file, dead, at.Path())
	if err != nil || c.Path() != at.Path() {
		t.Fatalf("the third of three: %v", err)
	}
	c.Close()
}

// A connection that Dial opened too long ago is replaced by a new one.
func TestDialStaleConnection(t *testing.T) {
	t.Parallel()
	at := agenttest.Serve(t, newFakeEngine(many(1)), peer.List{})
	c := at.Dial(t)
	poll.Until(t, 30*time.Second, "the agent has closed it", func() bool { return strings.Contains(at.Log.String(), `"op":"other"`) })
	if _, err := c.Source(sandbox, "").Next(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

func TestSocketPaths(t *testing.T) {
	for _, tt := range []struct {
		name    string
		uid     int
		runtime string
		want    string
		paths   []string
	}{
		{"root", 0, "", "/run/miosa-env/agent.sock", []string{"/run/miosa-env/agent.sock"}},
		{"root with a runtime folder", 0, "/run/user/0", "/run/miosa-env/agent.sock", []string{"/run/miosa-env/agent.sock"}},
		{"a user", 1000, "/run/user/1000/", "/run/user/1000/miosa-env/agent.sock", []string{"/run/user/1000/miosa-env/agent.sock", "/run/miosa-env/agent.sock"}},
		{"a user without", 1000, "", "", []string{"/run/miosa-env/agent.sock"}},
		{"a user with an odd one", 1000, "run", "", []string{"/run/miosa-env/agent.sock"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := socket.Path(tt.uid, tt.runtime)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("path %q, %v, want %q", got, err, tt.want)
			}
			if diff := cmp.Diff(socket.Paths(tt.uid, tt.runtime), tt.paths); diff != "" {
				t.Errorf("paths (-got +want):\n%s", diff)
			}
		})
	}
}

func BenchmarkDialNext(b *testing.B) {
	for _, n := range []int{5, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			at := agenttest.Serve(b, newFakeEngine(many(n)), peer.List{})
			b.ReportAllocs()
			for b.Loop() {
				c, err := socket.Dial(at.Path())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Source(sandbox, "").Next(context.Background(), ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
