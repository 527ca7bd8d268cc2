package listener_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/rs/zerolog"
)

// newPath returns a path in a directory that doesn't exist yet, in one that does.
func newPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "place")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "miosa-env", "agent.sock")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listen calls listener.Listen and closes the listener when the test ends.
func listen(t *testing.T, path string) *listener.Listener {
	t.Helper()
	l, err := listener.Listen(path, 0o660)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// deadSocket leaves a socket file without a listener, like a killed agent.
func deadSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
}

func TestListen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, path string)
		want   string // of the error; empty: none
	}{
		{"no folder", func(*testing.T, string) {}, ""},
		{"a folder", func(t *testing.T, path string) { must(t, os.Mkdir(filepath.Dir(path), 0o700)) }, ""},
		{"a dead agent's socket", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			deadSocket(t, path)
		}, ""},
		{"a dead agent's lock", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path+".lock", nil, 0o600))
		}, ""},
		{"a live agent", func(t *testing.T, path string) {
			listen(t, path)
		}, "another agent or broker is running and listens there"},
		{"a live agent whose socket was removed", func(t *testing.T, path string) {
			listen(t, path)
			must(t, os.Remove(path))
		}, "another agent or broker is running"},
		{"another program's socket", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}, "another program listens there"},
		{"a file", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte("precious"), 0o600))
		}, "not a socket"},
		{"a link", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			deadSocket(t, path+".real")
			must(t, os.Symlink(path+".real", path))
		}, "not a socket"},
		{"a link for a lock", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			must(t, os.Symlink("/tmp/elsewhere", path+".lock"))
		}, "symbolic links"},
		{"a folder others may write to", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			must(t, os.Chmod(filepath.Dir(path), 0o777|fs.ModeSticky))
		}, "others may write to the folder"},
		{"a link for a folder", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Dir(path)+".real", 0o755))
			must(t, os.Symlink(filepath.Dir(path)+".real", filepath.Dir(path)))
		}, "isn't a folder"},
		{"a file for a folder", func(t *testing.T, path string) {
			must(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
		}, "isn't a folder"},
		{"a folder of another user's", func(t *testing.T, path string) {
			needs.Root(t, "to give a folder to another user")
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			must(t, os.Chown(filepath.Dir(path), 65534, 65534))
		}, "belongs to another user"},
		{"nothing above the folder", func(t *testing.T, path string) {
			must(t, os.Remove(filepath.Dir(filepath.Dir(path))))
		}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newPath(t)
			tt.before(t, path)
			l, err := listener.Listen(path, 0o660)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want %q", err, tt.want)
				}
				if l != nil {
					t.Error("both an error and a listener")
				}
				return
			}
			must(t, err)
			folder := fs.FileMode(0o700)
			if os.Geteuid() == 0 {
				folder = 0o755
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != 0o660|fs.ModeSocket {
				t.Errorf("socket %v, %v", info.Mode(), err)
			}
			if info, err := os.Lstat(filepath.Dir(path)); tt.name == "no folder" && (err != nil || info.Mode().Perm() != folder) {
				t.Errorf("directory %v, %v", info.Mode(), err)
			}
			c, err := net.Dial("unix", path)
			must(t, err)
			_ = c.Close()
			_ = l.Close()
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket stays: %v", err)
			}
			_ = listen(t, path).Close()
		})
	}
}

// Close doesn't remove a file that has replaced the socket.
func TestCloseAfterReplacement(t *testing.T) {
	path := newPath(t)
	l := listen(t, path)
	must(t, os.Remove(path))
	deadSocket(t, path)
	_ = l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other file was removed: %v", err)
	}
}

// Restore creates a socket that was removed again, and leaves other files in its place alone.
func TestRestore(t *testing.T) {
	for _, tt := range []struct {
		name     string
		meddle   func(t *testing.T, path string)
		restored bool
		want     string // of the error; empty: none
	}{
		{"nothing", func(*testing.T, string) {}, false, ""},
		{"removed", func(t *testing.T, path string) { must(t, os.Remove(path)) }, true, ""},
		{"moved away", func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) }, true, ""},
		{"with its lock", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Remove(path+".lock"))
		}, true, ""},
		{"with its folder", func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) }, true, ""},
		{"a dead one's", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			deadSocket(t, path)
		}, true, ""},
		{"a file", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.WriteFile(path, []byte("precious"), 0o600))
		}, false, "not a socket"},
		{"another program's", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}, false, "another program listens there"},
		{"another agent's", func(t *testing.T, path string) {
			must(t, os.RemoveAll(filepath.Dir(path)))
			listen(t, path)
		}, false, "another agent or broker is running"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newPath(t)
			l := listen(t, path)
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan struct{})
			go func() {
				listener.Serve(ctx, l, zerolog.Nop(), func(c net.Conn) {
					_, _ = c.Write([]byte("served"))
					_ = c.Close()
				})
				close(served)
			}()
			defer func() {
				stop()
				<-served
				if _, err := os.Lstat(path); tt.want == "" && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the socket stays: %v", err)
				}
			}()
			tt.meddle(t, path)
			restored, err := l.Restore()
			if restored != tt.restored || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("restored %v, error %v; want %v, %q", restored, err, tt.restored, tt.want)
			}
			if tt.want != "" {
				return
			}
			c, err := net.Dial("unix", path)
			must(t, err)
			defer func() { _ = c.Close() }()
			if got, err := io.ReadAll(c); string(got) != "served" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

func TestInvalidPaths(t *testing.T) {
	for _, tt := range []struct{ name, path, want string }{
		{"none", "", "want a path from the root"},
		{"relative", "agent.sock", "want a path from the root"},
		{"too long", "/run/" + strings.Repeat("x", 103), "longer than 107 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := listener.Listen(tt.path, 0o600); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
