// Package fifo makes named pipes, with which tests let processes continue.
package fifo

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// New creates a fifo and returns its path.
func New(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// WriteLine writes a line to a fifo, as soon as a process has opened it for reading.
func WriteLine(t testing.TB, path, line string) {
	t.Helper()
	var f *os.File
	poll.Until(t, 10*time.Second, "a reader of "+path, func() (ok bool) { // without one, what is written is lost
		var err error
		f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil && !errors.Is(err, syscall.ENXIO) {
			t.Fatal(err)
		}
		return err == nil
	})
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}
