package inject_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject"
)

// An env file that this user may not read. Root may read all, so this thread looks at files as another.
func TestEnvFileUnreadable(t *testing.T) {
	path := envFile(t, "A=1")
	if err := os.Chmod(path, 0); err != nil {
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
	_, err := inject.Environment{Files: []string{path}}.Build()
	if want := "env file " + path + ": permission denied"; !errors.Is(err, unix.EACCES) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
