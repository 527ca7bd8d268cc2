//go:build !race

package packagetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
	"github.com/google/go-cmp/cmp"
)

// An independent implementation of apk installs the Alpine packages to a folder: the same files, in content and
// mode, as in the Debian packages, except for those specific to either.
func TestApk_Install(t *testing.T) {
	needs.Command(t, "go", "dpkg-deb")
	program := filepath.Join(workDir, "apkinstall")
	output(t, "go", "build", "-C", "apkinstall", "-o", program, ".")
	dir, debs := t.TempDir(), t.TempDir()
	args, want := []string{dir}, ""
	for _, name := range releasetest.Programs {
		args, want = append(args, file(t, name+"_1.2.3_amd64.apk")), want+name+" 1.2.3-r1 x86_64\n"
	}
	if out := output(t, program, args...); out != want {
		t.Errorf("installed\n%swant\n%s", out, want)
	}
	for _, name := range releasetest.Programs {
		output(t, "dpkg-deb", "-x", file(t, name+"_1.2.3_amd64.deb"), debs)
	}
	below := func(root string) map[string]string {
		return contents(t, filepath.Join(root, "usr"), filepath.Join(root, "etc", "miosa-env"), filepath.Join(root, "etc", "miosa-egress"))
	}
	got, ofDebs := below(dir), below(debs)
	for name := range got {
		if strings.HasPrefix(name, "share/licenses/") {
			delete(got, name)
		}
	}
	for name, content := range ofDebs {
		switch {
		case strings.HasPrefix(name, "lib/"), strings.HasPrefix(name, "share/doc/"), strings.HasPrefix(name, "share/lintian/"):
			delete(ofDebs, name)
		case strings.HasPrefix(name, "share/zsh/vendor-completions/"):
			delete(ofDebs, name)
			ofDebs[strings.Replace(name, "vendor-completions", "site-functions", 1)] = content
		}
	}
	if len(got) < 40 {
		t.Errorf("%d files", len(got))
	}
	if diff := cmp.Diff(got, ofDebs); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
	if out := output(t, filepath.Join(dir, "usr", "bin", "miosa-env"), "--version"); !strings.Contains(out, first) {
		t.Errorf("miosa-env --version says %q", out)
	}
}

// contents maps the names of files below folders to their mode and checksum.
func contents(t *testing.T, folders ...string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, folder := range folders {
		for _, name := range installed(t, folder) {
			at := filepath.Join(folder, name)
			info, err := os.Stat(at)
			if err != nil {
				t.Fatal(err)
			}
			sum, _, _ := strings.Cut(output(t, "sha256sum", at), " ")
			list[name] = info.Mode().String() + " " + sum
		}
	}
	return list
}
