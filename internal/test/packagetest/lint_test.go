//go:build !race

package packagetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// lintian has nothing to say against the packages of Debian's, but for what they say themselves is meant so. Those for
// another processor have the same in them.
func TestDeb_Lintian(t *testing.T) {
	needs.Command(t, "lintian")
	debs, err := filepath.Glob(filepath.Join(dist(t), "*_amd64.deb"))
	if err != nil || len(debs) != 2 {
		t.Fatal(debs, err)
	}
	out, errs, code := ran(t, append(os.Environ(), "LC_ALL=C.UTF-8"), "lintian",
		append([]string{"--allow-root", "--no-cfg", "--fail-on", "error,warning", "--tag-display-limit", "0"}, debs...)...)
	if code != 0 || out != "" {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// The scripts that run as root on other people's machines have nothing that shellcheck finds, as POSIX's shell reads them.
func TestShellcheck(t *testing.T) {
	needs.Command(t, "shellcheck")
	scripts, err := filepath.Glob(filepath.Join(root, "packaging", "miosa-env", "*.sh"))
	if err != nil || len(scripts) != 3 {
		t.Fatal(scripts, err)
	}
	for _, script := range append(scripts, installer) {
		if out, _, code := ran(t, nil, "shellcheck", "--norc", "--shell=sh", script); code != 0 {
			t.Errorf("%s\n%s", strings.TrimPrefix(script, root+"/"), out)
		}
	}
}
