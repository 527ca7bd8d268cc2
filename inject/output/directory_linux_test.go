package output_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// TestOutputUnsafe checks that an output is not written through or over a path that another user can change. The error
// names that path and has a hint, and no file is modified.
func TestOutputUnsafe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format string
		make   func(dir string) error // in dir, and the output is dir/a/b/out
		root   bool
		want   string // DIR is dir
		hint   string
	}{
		{"a parent is a symlink", "docker", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/real/b", 0o700), os.Symlink("real", dir+"/a"))
		}, false, "DIR/a is a symlink", "give the path without symlinks: DIR/a leads to DIR/real"},
		{"the last parent is a symlink", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a", 0o700), os.Mkdir(dir+"/real", 0o700), os.Symlink(dir+"/real", dir+"/a/b"))
		}, false, "DIR/a/b is a symlink", "give the path without symlinks: DIR/a/b leads to DIR/real"},
		{"the file is a symlink", "docker", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.WriteFile(dir+"/victim", []byte("victim"), 0o600), os.Symlink("../../victim", dir+"/a/b/out"))
		}, false, "DIR/a/b/out is a symlink", "give the path without symlinks: DIR/a/b/out leads to DIR/victim"},
		{"the file is a dangling symlink", "docker", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.Symlink(dir+"/victim", dir+"/a/b/out"))
		}, false, "DIR/a/b/out is a symlink", "give the path without symlinks: DIR/a/b/out leads to DIR/victim"},
		{"the directory of files is a symlink", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.Mkdir(dir+"/victim", 0o700), os.Symlink(dir+"/victim", dir+"/a/b/out"))
		}, false, "DIR/a/b/out is a symlink", "give the path without symlinks: DIR/a/b/out leads to DIR/victim"},
		{"the file is a directory", "docker", func(dir string) error { return os.MkdirAll(dir+"/a/b/out", 0o700) },
			false, "DIR/a/b/out is there and isn't a file", "remove it, or choose another path"},
		{"the file is a fifo", "docker", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), unix.Mkfifo(dir+"/a/b/out", 0o600))
		}, false, "DIR/a/b/out is there and isn't a file", "remove it, or choose another path"},
		{"a parent that its group may write to", "docker", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.Chmod(dir+"/a", 0o770))
		}, false, "DIR/a has mode 0770: others could put something else in the way", "chmod go-w DIR/a"},
		{"a parent that everybody may write to", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.Chmod(dir+"/a/b", 0o707))
		}, false, "DIR/a/b has mode 0707: others could put something else in the way", "chmod go-w DIR/a/b, or set allow_shared = true"},
		{"a directory of files that is sticky only", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b/out", 0o700), os.Chmod(dir+"/a/b/out", 0o777|os.ModeSticky))
		}, false, "DIR/a/b/out has mode 01777: others could put something else there", "chmod go-w DIR/a/b/out"},
		{"a parent of another user's", "docker", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.Chown(dir+"/a", 65534, -1))
		}, true, "DIR/a belongs to uid 65534, who could put something else in the way", "chown 0 DIR/a, or choose a path under directories of root's"},
		{"a name that is taken", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b/out", 0o700), os.WriteFile(dir+"/a/b/out/A", []byte("victim"), 0o600))
		}, false, "DIR/a/b/out/A is there and isn't ours", "remove it, or choose another path"},
		{"a name that leads elsewhere", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b/out", 0o700), os.Symlink("../../../victim", dir+"/a/b/out/A"))
		}, false, "DIR/a/b/out/A is there and isn't ours", "remove it, or choose another path"},
		{"a set that leads elsewhere", "files", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b/out", 0o700), os.Mkdir(dir+"/victim", 0o700), os.Symlink(dir+"/victim", dir+"/a/b/out/..data"))
		}, false, "DIR/a/b/out/..data is there and isn't ours", "remove it, or choose another path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root {
				needs.Root(t, "to give files to another user")
			}
			dir := inMemory(t)
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			err := newOutput(t, tt.format, dir+"/a/b/out").Write(snapshot("A", "canary"))
			var unsafe *output.Unsafe
			if !errors.As(err, &unsafe) {
				t.Fatalf("got %v, want *Unsafe", err)
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := strings.ReplaceAll(unsafe.Hint(), dir, "DIR"); got != tt.hint {
				t.Errorf("hint %s\nwant %s", got, tt.hint)
			}
			holds(t, dir, before)
		})
	}
	t.Run("no parent", func(t *testing.T) {
		dir := inMemory(t)
		err := newOutput(t, "docker", dir+"/a/out").Write(snapshot())
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir+"/a: ") {
			t.Errorf("got %v", err)
		}
	})
}

// TestOutputDisk checks that an output on a disk is refused unless AllowDisk is set.
func TestOutputDisk(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if kind := uint32(st.Type); kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC {
		needs.System(t, "a directory on a disk: %s is in memory (set TMPDIR to another)", dir)
	}
	for _, format := range []string{"docker", "files"} {
		t.Run(format, func(t *testing.T) {
			var unsafe *output.Unsafe
			err := newOutput(t, format, dir+"/"+format).Write(snapshot("A", "canary"))
			if !errors.As(err, &unsafe) || unsafe.Path != dir || !strings.Contains(unsafe.Hint(), "allow_disk = true") {
				t.Errorf("got %v", err)
			}
			if found := tree(t, dir); len(found) != 0 {
				t.Errorf("written despite the error: %q", found)
			}
			o := newOutput(t, format, dir+"/"+format, func(c *output.Config) { c.AllowDisk = true })
			write(t, o, "A", "1")
			intact(t, o, true)
			if err := o.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOutputInSharedDirectory checks that a directory that others may write to is accepted only with AllowShared, and
// only as the output's own directory.
func TestOutputInSharedDirectory(t *testing.T) {
	for _, format := range []string{"docker", "files"} {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t) + "/pod"
			if err := errors.Join(os.MkdirAll(dir+"/volume/within", 0o700), os.Chmod(dir+"/volume", 0o777|os.ModeSetgid)); err != nil {
				t.Fatal(err)
			}
			shared := func(c *output.Config) { c.AllowShared = true }
			o := newOutput(t, format, dir+"/volume/out", shared)
			write(t, o, "A", "1")
			intact(t, o, true)
			if err := o.Remove(); err != nil {
				t.Error(err)
			}
			var unsafe *output.Unsafe
			err := newOutput(t, format, dir+"/volume/within/out", shared).Write(snapshot("A", "canary"))
			if !errors.As(err, &unsafe) || unsafe.Path != dir+"/volume" || unsafe.Hint() != "chmod go-w "+dir+"/volume" {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestOutputInStickyDirectory checks that an output may be in a sticky directory such as /dev/shm, where users can
// remove only their own files.
func TestOutputInStickyDirectory(t *testing.T) {
	dir := inMemory(t)
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	o := newOutput(t, "docker", dir+"/out")
	write(t, o, "A", "1")
	intact(t, o, true)
	// The next operation detects that a parent has become writable for others.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var unsafe *output.Unsafe
	if _, err := o.Check(); !errors.As(err, &unsafe) {
		t.Errorf("check: %v", err)
	}
	if err := o.Write(snapshot("A", "2")); !errors.As(err, &unsafe) {
		t.Errorf("write: %v", err)
	}
	if err := o.Remove(); !errors.As(err, &unsafe) {
		t.Errorf("remove: %v", err)
	}
	holds(t, dir, map[string]string{"out": "A=1\n"})
}
