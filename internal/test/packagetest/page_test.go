//go:build !race

package packagetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
)

const guide = root + "/docs/install.md"

// A comment above each block of commands in the guides names the test that runs it. Those run here, in
// TestRpm_Life and TestApk_Install, and by TestComputer of internal/test/systemdtest.
func TestGuides(t *testing.T) {
	run := map[string][]string{
		guide:                     {"Installing", "Debian and derivatives", "Debian and derivatives", "Rpm", "Archive", "From source"},
		root + "/docs/systemd.md": {"Install", "Install", "From a checkout"},
	}
	for path, want := range run {
		var got []string
		for _, b := range document.Read(t, path).Blocks() {
			if b.Language == "sh" && !b.Exempt() {
				got = append(got, b.Heading)
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: blocks that are said to be run, and those that are (-got +want):\n%s", path, diff)
		}
	}
}

// Downloads are verified, even if they are not all of a release's files.
func TestGuide_Sums(t *testing.T) {
	needs.Command(t, "sha256sum")
	line, dir := document.Read(t, guide).Commands(t, "Installing", 1)[0], t.TempDir()
	output(t, "cp", file(t, "SHA256SUMS"), file(t, "miosa-env_1.2.3_amd64.deb"), dir)
	if out := output(t, "sh", "-ec", "cd "+dir+"\n"+line); out != "miosa-env_1.2.3_amd64.deb: OK\n" {
		t.Errorf("it says\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(dir, "miosa-env_1.2.3_amd64.deb"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, code := ran(t, nil, "sh", "-ec", "cd "+dir+"\n"+line); code == 0 {
		t.Errorf("of another file it says\n%s", out)
	}
}

// install.sh works as described by each line.
func TestGuide_Archive(t *testing.T) {
	needs.Command(t, "sh", "curl")
	dir, prefix := t.TempDir(), t.TempDir()
	signature, public := signed(t, sumsOf(t))
	output(t, "cp", file(t, "install.sh"), dir)
	output(t, "cp", public, dir+"/release.pub")
	lines := strings.Split(strings.TrimSpace(document.Read(t, guide).Commands(t, "Archive", 1)[0]), "\n")
	url, counts := serve(t, map[string]string{"SHA256SUMS.sig": signature}), []int{}
	for _, line := range lines {
		line = strings.ReplaceAll(line, "URL", url)
		if out, errs, code := ran(t, []string{"PATH=" + os.Getenv("PATH"), "PREFIX=" + prefix}, "sh", "-ec", "cd "+dir+"\n"+line); code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", line, code, out, errs)
		}
		counts = append(counts, min(len(installed(t, prefix)), 2))
	}
	if !slices.Equal(counts, []int{0, 2, 0}) {
		t.Errorf("the lines leave nothing, files, and nothing: want 0, 2 (or more), 0, got %v", counts)
	}
}

// The sources are built and installed to a folder, from a copy.
func TestGuide_Source(t *testing.T) {
	needs.Command(t, "go", "make", "cp")
	sources, dest := filepath.Join(workDir, "source"), t.TempDir()
	output(t, "cp", "-R", root, sources)
	t.Cleanup(func() { _ = os.RemoveAll(sources) })
	environ := append(releasetest.Clean(os.Environ()), "DESTDIR="+dest)
	lines := strings.ReplaceAll(document.Read(t, guide).Commands(t, "From source", 1)[0], "sudo ", "")
	if out, errs, code := ran(t, environ, "sh", "-ec", "cd "+sources+"\n"+lines); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	if diff := cmp.Diff(installed(t, dest), []string{"usr/local/bin/miosa-egress", "usr/local/bin/miosa-env", "usr/local/bin/miosa-vault"}); diff != "" {
		t.Errorf("installed (-got +want):\n%s", diff)
	}
	output(t, filepath.Join(dest, "usr/local/bin/miosa-env"), "--version")
}
