package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"golang.org/x/sys/unix"
)

func TestOutputLook(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "look")
	needs.Granted(t, err, "a directory in memory")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	for _, err := range []error{
		os.Mkdir(at("folder"), 0o700), os.Mkdir(at("open"), 0o700), os.Chmod(at("open"), 0o777),
		os.WriteFile(at("file"), nil, 0o600), os.Symlink("file", at("link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		conf Config
		want string // of the error; empty: none
	}{
		{"new", Config{Path: at("new"), Format: "shell"}, ""},
		{"new files", Config{Path: at("new"), Format: Files}, ""},
		{"there", Config{Path: at("file"), Format: "shell"}, ""},
		{"files there", Config{Path: at("folder"), Format: Files}, ""},
		{"a folder", Config{Path: at("folder"), Format: "shell"}, "isn't a file"},
		{"files in the place of a file", Config{Path: at("file"), Format: Files}, "isn't a directory"},
		{"a link", Config{Path: at("link"), Format: "shell"}, "is a symlink"},
		{"open to others", Config{Path: at("open", "new"), Format: "shell"}, "has mode 0777"},
		{"no directory", Config{Path: at("none", "new"), Format: "shell"}, "no such file"},
		{"on a disk", Config{Path: "/proc/new", Format: "shell"}, "is on a file system"},
		{"where nothing can be written", Config{Path: "/proc/1/new", Format: "shell", AllowDisk: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "where nothing can be written" {
				asNobody(t)
				tt.want = "permission denied"
			}
			err := tt.conf.Look()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if tt.name == "no directory" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v isn't fs.ErrNotExist", err)
			}
		})
	}
	if _, err := os.Lstat(at("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Write: %v", err)
	}
}

// asNobody drops root privileges on this thread until the test ends, because root may write everywhere.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const same, nobody = ^uintptr(0), 65534
	runtime.LockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, nobody, same); errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, 0, same); errno != 0 {
			panic(errno) // the rest of the test would be meaningless
		}
		runtime.UnlockOSThread()
	})
}
