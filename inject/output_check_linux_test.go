package inject

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
		conf OutputConfig
		want string // of the error; empty: none
	}{
		{"new", OutputConfig{Path: at("new"), Format: FormatShell}, ""},
		{"new files", OutputConfig{Path: at("new"), Format: FormatFiles}, ""},
		{"there", OutputConfig{Path: at("file"), Format: FormatShell}, ""},
		{"files there", OutputConfig{Path: at("folder"), Format: FormatFiles}, ""},
		{"a folder", OutputConfig{Path: at("folder"), Format: FormatShell}, "isn't a file"},
		{"files in the place of a file", OutputConfig{Path: at("file"), Format: FormatFiles}, "isn't a directory"},
		{"a link", OutputConfig{Path: at("link"), Format: FormatShell}, "is a symlink"},
		{"open to others", OutputConfig{Path: at("open", "new"), Format: FormatShell}, "has mode 0777"},
		{"no directory", OutputConfig{Path: at("none", "new"), Format: FormatShell}, "no such file"},
		{"on a disk", OutputConfig{Path: "/proc/new", Format: FormatShell}, "is on a file system"},
		{"where nothing can be written", OutputConfig{Path: "/proc/1/new", Format: FormatShell, AllowDisk: true}, ""},
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
		t.Errorf("it writes: %v", err)
	}
}

// asNobody gives up root until the test's end, for this thread only: root may write everywhere.
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
			panic(errno) // nothing that follows would be what it says
		}
		runtime.UnlockOSThread()
	})
}
