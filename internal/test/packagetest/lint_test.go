//go:build !race

package packagetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
)

// lintian reports no problem in the Debian packages, except those that they declare as intended. Packages for
// other processors have the same contents.
func TestDeb_Lintian(t *testing.T) {
	needs.Command(t, "lintian")
	debs, err := filepath.Glob(filepath.Join(dist(t), "*_amd64.deb"))
	if err != nil || len(debs) != len(releasetest.Programs) {
		t.Fatal(debs, err)
	}
	out, errs, code := ran(t, append(os.Environ(), "LC_ALL=C.UTF-8"), "lintian",
		append([]string{"--allow-root", "--no-cfg", "--fail-on", "error,warning", "--tag-display-limit", "0"}, debs...)...)
	if code != 0 || out != "" {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// shellcheck reports no problem, for POSIX sh, in the scripts that run as root on users' machines.
func TestShellcheck(t *testing.T) {
	needs.Command(t, "shellcheck")
	scripts, err := filepath.Glob(filepath.Join(root, "packaging", "miosa-*", "*.sh"))
	if err != nil || len(scripts) != 6 {
		t.Fatal(scripts, err)
	}
	for _, script := range append(scripts, installer) {
		if out, _, code := ran(t, nil, "shellcheck", "--norc", "--shell=sh", script); code != 0 {
			t.Errorf("%s\n%s", strings.TrimPrefix(script, root+"/"), out)
		}
	}
}
