package watch_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A directory that this user may not list can't be watched. That is logged once. Once the user may list it, it is watched.
func TestWatcher_Refused(t *testing.T) {
	parent, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "keys")
	for _, folder := range []string{filepath.Dir(parent), parent} {
		if err := os.Chmod(folder, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	mode, root := os.FileMode(0o311), os.Geteuid() == 0
	if root {
		mode = 0o711
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	var log buffer.Buffer
	w, err := watch.New(zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	w.Set([]watch.Path{{Path: key}})
	ctx, cancel := context.WithCancel(t.Context())
	const nobody = 65534
	told, ended := make(chan []string, 10), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread isn't root's any more
		const same = ^uintptr(0)
		if root {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, nobody, same); errno != 0 {
				ended <- errno
				return
			}
		}
		ended <- w.Run(ctx, func(paths []string) { told <- paths })
	}()
	poll.Until(t, 10*time.Second, "the first report", func() bool { return len(told) == 1 })
	w.Set([]watch.Path{{Path: key}, {Path: filepath.Join(dir, "other")}})
	poll.Until(t, 10*time.Second, "the second report", func() bool { return len(told) == 2 })
	if root {
		err = os.Chown(dir, nobody, -1)
	} else {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Set([]watch.Path{{Path: key}, {Path: filepath.Join(dir, "third")}})
	poll.Until(t, 10*time.Second, "the third report", func() bool { return len(told) == 3 })
	if err := os.WriteFile(key, []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 10*time.Second, "a report of the change", func() bool { return len(told) == 4 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "cannot be watched"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}
