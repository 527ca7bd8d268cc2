package trusted_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

func TestCheck(t *testing.T) {
	const other = 12345
	for _, tt := range []struct {
		name string
		make func(dir string) error // of dir/a/file, which exists
		root bool                   // it needs to be root
		want string                 // the part at fault, in dir; "": none
		uid  int
	}{
		{"as created", func(string) error { return nil }, false, "", 0},
		{"file for a group", func(dir string) error { return os.Chmod(dir+"/a/file", 0o660) }, false, "a/file", -1},
		{"file for all", func(dir string) error { return os.Chmod(dir+"/a/file", 0o602) }, false, "a/file", -1},
		{"readable by all", func(dir string) error { return os.Chmod(dir+"/a/file", 0o644) }, false, "", 0},
		{"directory for a group", func(dir string) error { return os.Chmod(dir+"/a", 0o770) }, false, "a", -1},
		{"directory above", func(dir string) error { return os.Chmod(dir, 0o777) }, false, ".", -1},
		{"sticky", func(dir string) error { return os.Chmod(dir, 0o777|fs.ModeSticky) }, false, "", 0},
		{"another's file", func(dir string) error { return os.Chown(dir+"/a/file", other, -1) }, true, "a/file", other},
		{"another's directory", func(dir string) error { return os.Chown(dir, other, -1) }, true, ".", other},
		{"another's file in a sticky directory", func(dir string) error {
			return errors.Join(os.Chmod(dir, 0o777|fs.ModeSticky), os.Chown(dir+"/a", other, -1))
		}, true, "a", other},
		{"symlink", func(dir string) error {
			return errors.Join(os.Rename(dir+"/a", dir+"/b"), os.Symlink("./x/../b", dir+"/a"), os.Mkdir(dir+"/x", 0o700))
		}, false, "", 0},
		{"symlink into a directory for all", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/open", 0o700), os.Chmod(dir+"/open", 0o777), os.Rename(dir+"/a", dir+"/open/a"), os.Symlink(dir+"/open/a", dir+"/a"))
		}, false, "open", -1},
		{"symlink through a directory for all", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/open", 0o700), os.Chmod(dir+"/open", 0o777), os.Rename(dir+"/a", dir+"/b"),
				os.Symlink("../b", dir+"/open/a"), os.Symlink("open/a", dir+"/a"))
		}, false, "open", -1},
		{"another's symlink", func(dir string) error {
			return errors.Join(os.Rename(dir+"/a", dir+"/b"), os.Symlink("b", dir+"/a"), os.Lchown(dir+"/a", other, -1))
		}, true, "a", other},
		{"missing", func(dir string) error { return os.RemoveAll(dir + "/a") }, false, "", 0},
		{"missing, in a directory for all", func(dir string) error { return errors.Join(os.RemoveAll(dir+"/a"), os.Chmod(dir, 0o777)) }, false, ".", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root {
				needs.Root(t, "to give files away")
			}
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err == nil {
				err = errors.Join(os.Mkdir(dir+"/a", 0o700), os.WriteFile(dir+"/a/file", nil, 0o600), tt.make(dir))
			}
			if err != nil {
				t.Fatal(err)
			}
			err = trusted.Check(dir + "/a/file")
			var found *trusted.Error
			switch errors.As(err, &found); {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want == "":
			case found == nil || found.Path != filepath.Join(dir, tt.want) || found.UID != tt.uid || found.Self != strings.HasSuffix(tt.want, "file"):
				t.Errorf("got %+v (%v), want %s", found, err, tt.want)
			}
		})
	}
	dir := t.TempDir()
	if err := os.Symlink("loop", dir+"/loop"); err != nil {
		t.Fatal(err)
	}
	if err := trusted.Check(dir + "/loop"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
}
