package dotenv_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
)

// TestUnreadable reads a file without permission. Root may read every file, so the thread acts as another user.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.env")
	if err := os.WriteFile(path, []byte("A=1"), 0o200); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if root := os.Geteuid(); root == 0 {
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Setfsuid(root) }()
	}
	_, err := dotenv.Read(path)
	if want := "env file " + path + ": permission denied"; !errors.Is(err, unix.EACCES) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestPipe checks that Read reads a pipe to its end.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = w.WriteString("A='x\n")
		}
		if err == nil {
			_, err = w.WriteString("y'\n")
		}
		wrote <- errors.Join(err, w.Close())
	}()
	list, err := dotenv.Read(path)
	if err := errors.Join(err, <-wrote); err != nil {
		t.Fatal(err)
	}
	if got := valuesOf(list); got["A"] != "x\ny" {
		t.Errorf("got %q", got)
	}
}
