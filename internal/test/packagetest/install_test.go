//go:build !race

package packagetest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/google/go-cmp/cmp"
)

const installer = root + "/packaging/install.sh"

// serve serves the dist on loopback, with some files replaced.
func serve(t *testing.T, instead map[string]string) string {
	t.Helper()
	files := http.FileServer(http.Dir(dist(t)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if content, there := instead[filepath.Base(r.URL.Path)]; there {
			_, _ = w.Write([]byte(content))
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func installed(t *testing.T, prefix string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(prefix, func(at string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, _ := filepath.Rel(prefix, at)
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The script installs what a dry run lists, can be repeated, and removes all of it.
func TestInstall_AndRemove(t *testing.T) {
	for _, shell := range []string{"dash", "bash", "busybox"} {
		t.Run(shell, func(t *testing.T) {
			needs.Command(t, shell, "curl")
			script := []string{installer}
			if shell == "busybox" {
				script = []string{"sh", installer}
			}
			url, prefix := serve(t, nil), t.TempDir()
			do := func(args ...string) string {
				return output(t, shell, slices.Concat(script, []string{"--prefix", prefix}, args)...)
			}
			plan := do("--base-url", url, "--dry-run")
			if files := installed(t, prefix); len(files) > 0 {
				t.Fatalf("a dry run installed %v", files)
			}
			do("--base-url", url)
			do("--base-url", url+"/")
			files := installed(t, prefix)
			for _, name := range files {
				if !strings.Contains(plan, "would install "+prefix+"/"+name+"\n") {
					t.Errorf("%s wasn't in the plan", name)
				}
			}
			if strings.Count(plan, "would install") != len(files) || !slices.Contains(files, "share/man/man1/miosa-env-run.1") {
				t.Errorf("installed %v of the plan\n%s", files, plan)
			}
			if out := output(t, filepath.Join(prefix, "bin/miosa-vault"), "--version"); !strings.Contains(out, first) {
				t.Errorf("miosa-vault --version says %q", out)
			}
			do("--remove", "--dry-run")
			if diff := cmp.Diff(installed(t, prefix), files); diff != "" {
				t.Errorf("a dry run removed (-got +want):\n%s", diff)
			}
			do("--remove")
			if left := installed(t, prefix); len(left) > 0 {
				t.Errorf("--remove left %v", left)
			}
		})
	}
}

// The script installs nothing if a checksum differs, or if it cannot determine what to install.
func TestInstall_Refuses(t *testing.T) {
	needs.Command(t, "sh", "curl")
	sums, err := os.ReadFile(filepath.Join(dist(t), "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.NewReplacer("0", "1", "1", "2", "2", "3", "a", "b").Replace
	wrong := ""
	for line := range strings.Lines(string(sums)) {
		wrong += other(line[:64]) + line[64:]
	}
	for _, test := range []struct {
		name    string
		instead map[string]string
		args    []string // used if instead is nil
		code    int
		message string
	}{
		{"another sum", map[string]string{"SHA256SUMS": wrong}, nil, 3, "nothing was installed"},
		{"another archive", map[string]string{filepath.Base(file(t, "*_linux_amd64.tar.gz")): "x", filepath.Base(file(t, "*_linux_arm64.tar.gz")): "x"}, nil, 3, "nothing was installed"},
		{"no sum", map[string]string{"SHA256SUMS": ""}, nil, 1, "has no archive for linux"},
		{"two versions", map[string]string{"SHA256SUMS": string(sums) + strings.ReplaceAll(string(sums), "1.2.3", "1.2.4")}, nil, 1, "several archives"},
		{"name with a path", map[string]string{"SHA256SUMS": strings.ReplaceAll(string(sums), "  miosa", "  ../miosa")}, nil, 1, "has no archive"},
		{"plain http elsewhere", nil, []string{"--base-url", "http://192.0.2.1/"}, 2, "wants https"},
		{"no URL", nil, nil, 2, "--base-url is missing"},
		{"unknown flag", nil, []string{"--force"}, 2, "unknown argument --force"},
		{"relative prefix", nil, []string{"--base-url", "https://localhost/", "--prefix", "here"}, 2, "absolute"},
		{"nothing there", nil, []string{"--base-url", "http://127.0.0.1:1/"}, 1, "can't be downloaded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			prefix, args := t.TempDir(), test.args
			if test.instead != nil {
				args = []string{"--base-url", serve(t, test.instead)}
			}
			_, errs, code := ran(t, []string{"PATH=" + os.Getenv("PATH"), "PREFIX=" + prefix}, "sh", append([]string{installer}, args...)...)
			if code != test.code || !strings.Contains(errs, test.message) {
				t.Errorf("exit code %d, want %d; standard error, where %q is wanted:\n%s", code, test.code, test.message, errs)
			}
			if files := installed(t, prefix); len(files) > 0 {
				t.Errorf("installed %v", files)
			}
		})
	}
}

// The script fails if an installed program does not run.
func TestInstall_DoesNotRun(t *testing.T) {
	needs.Command(t, "sh", "curl", "tar")
	archive, dir := filepath.Base(file(t, "*_linux_"+runtime.GOARCH+".tar.gz")), t.TempDir()
	script := `cd "$1"; mkdir -p "$2/bin" "$2/share"; printf '#!/bin/sh\nexit 1\n' >"$2/bin/miosa-env"; tar -czf "$2.tar.gz" "$2"; sha256sum "$2.tar.gz"`
	sum := output(t, "sh", "-ec", script, "sh", dir, strings.TrimSuffix(archive, ".tar.gz"))
	content, err := os.ReadFile(filepath.Join(dir, archive))
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, map[string]string{archive: string(content), "SHA256SUMS": sum})
	out, errs, code := ran(t, nil, "sh", installer, "--base-url", url, "--prefix", t.TempDir())
	if code != 1 || !strings.Contains(errs, "but miosa-env doesn't run here") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
