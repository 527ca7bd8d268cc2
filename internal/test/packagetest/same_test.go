//go:build !race

package packagetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
)

// Building the same commit in another folder, time zone and umask, at another time, gives the same bytes.
func TestPackage_Reproducible(t *testing.T) {
	sources := filepath.Join(workDir, "elsewhere")
	output(t, "cp", "-R", root, sources)
	again := filepath.Join(workDir, "again")
	if err := releasetest.Make(sources, again, nfpm(), first, "linux/amd64", "TZ=Pacific/Chatham", "LC_ALL=C", "HOSTNAME=elsewhere"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(again)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, e := range entries {
		if !strings.Contains(e.Name(), "amd64") {
			continue
		}
		compared++
		one, err1 := os.ReadFile(filepath.Join(again, e.Name()))
		two, err2 := os.ReadFile(filepath.Join(dist(t), e.Name()))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s differs", e.Name())
		}
	}
	if compared != 1+3*len(releasetest.Programs) {
		t.Errorf("compared %d files, want an archive and three packages of each program", compared)
	}
}

// SHA256SUMS lists every file, and sha256sum verifies it.
func TestSums(t *testing.T) {
	needs.Command(t, "sha256sum")
	dir := dist(t)
	checked := output(t, "sh", "-c", "cd "+dir+" && sha256sum --check --strict SHA256SUMS")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "SHA256SUMS" && !strings.Contains(checked, e.Name()+": OK\n") {
			t.Errorf("%s isn't in SHA256SUMS", e.Name())
		}
	}
	if out, _, code := ran(t, nil, "sh", "-c", fmt.Sprintf("cd %s && ls -A | grep -v '[.]'", dir)); code != 0 || out != "SHA256SUMS\n" {
		t.Errorf("the folder has more than is handed out: %s", out)
	}
}

// man(1) reports no problem in any manual page, and each command of the README has one.
func TestManual(t *testing.T) {
	needs.Command(t, "man", "tar")
	dir := t.TempDir()
	output(t, "tar", "-xzf", file(t, "*_linux_amd64.tar.gz"), "-C", dir)
	pages, err := filepath.Glob(filepath.Join(dir, "*", "share", "man", "man1", "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, page := range pages {
		names = append(names, strings.TrimSuffix(filepath.Base(page), ".1"))
		_, warnings, code := ran(t, append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=100"), "man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", page)
		if code != 0 || warnings != "" {
			t.Errorf("%s: exit code %d\n%s", filepath.Base(page), code, warnings)
		}
	}
	for _, name := range []string{"miosa-env", "miosa-env-run", "miosa-env-agent", "miosa-env-secrets-set", "miosa-env-oauth-connect", "miosa-vault", "miosa-vault-serve", "miosa-vault-keys-create", "miosa-egress", "miosa-egress-serve"} {
		if !strings.Contains("\n"+strings.Join(names, "\n")+"\n", "\n"+name+"\n") {
			t.Errorf("there is no page %s", name)
		}
	}
	for _, page := range pages {
		if filepath.Base(page) != "miosa-env-run.1" {
			continue
		}
		text, _, _ := ran(t, append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=100"), "man", "-P", "cat", "-l", page)
		for _, part := range []string{"miosa-env-run - Start a command with its secrets", "--stop-timeout DURATION", "MIOSA_API_KEY", "SEE ALSO"} {
			if !strings.Contains(text, part) {
				t.Errorf("miosa-env-run(1) doesn't say %q", part)
			}
		}
	}
}

// The bills of materials list each module of a program, and there is a license for each.
func TestBillOfMaterials(t *testing.T) {
	needs.Command(t, "go", "tar")
	dir := t.TempDir()
	output(t, "tar", "-xzf", file(t, "*_linux_amd64.tar.gz"), "-C", dir)
	for _, name := range releasetest.Programs {
		bill, err := os.ReadFile(file(t, name+"_1.2.3.cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		listed := map[string]int{}
		binary, err := filepath.Glob(filepath.Join(dir, "*", "bin", name))
		if err != nil || len(binary) != 1 {
			t.Fatal(binary, err)
		}
		licences, err := filepath.Glob(filepath.Join(dir, "*", "share/doc/miosa-env/licences-of-"+name+".txt"))
		if err != nil || len(licences) != 1 {
			t.Fatal(licences, err)
		}
		text, err := os.ReadFile(licences[0])
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(output(t, "go", "version", "-m", binary[0])) {
			if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
				if !strings.Contains(string(text), "\n"+f[1]+" "+f[2]+": ") {
					t.Errorf("there is no licence of %s %s", f[1], f[2])
				}
				listed["pkg:golang/"+f[1]+"@"+f[2]] = strings.Count(string(bill), `"purl": "pkg:golang/`+f[1]+"@"+f[2]+`"`)
			}
		}
		if len(listed) < 5 {
			t.Errorf("%s has %d modules", name, len(listed))
		}
		for purl, times := range listed {
			if diff := cmp.Diff(times, 1); diff != "" {
				t.Errorf("%s in %s's list: %d times", purl, name, times)
			}
		}
	}
}
