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

// signed signs checksums with a new key, and returns the signature and the key's public file.
func signed(t *testing.T, sums string) (signature, public string) {
	t.Helper()
	needs.Command(t, "ssh-keygen")
	dir := t.TempDir()
	output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/key")
	if err := os.WriteFile(dir+"/SHA256SUMS", []byte(sums), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, "ssh-keygen", "-q", "-Y", "sign", "-f", dir+"/key", "-n", "miosa-env-release", dir+"/SHA256SUMS")
	text, err := os.ReadFile(dir + "/SHA256SUMS.sig")
	if err != nil {
		t.Fatal(err)
	}
	return string(text), dir + "/key.pub"
}

func sumsOf(t *testing.T) string {
	t.Helper()
	sums, err := os.ReadFile(filepath.Join(dist(t), "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	return string(sums)
}

// With a public key, the script installs what is signed with it, and nothing else.
func TestAttack_ForgedSums(t *testing.T) {
	sums := sumsOf(t)
	signature, public := signed(t, sums)
	_, other := signed(t, sums)
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(both, []byte("# the keys of this year\n\n"+output(t, "cat", other)+strings.TrimSpace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	genuine := map[string]string{"SHA256SUMS.sig": signature}
	for _, shell := range []string{"dash", "bash", "busybox"} {
		for _, test := range []struct {
			name    string
			instead map[string]string
			key     string
			code    int
			message string
		}{
			{"signed", genuine, public, 0, ""},
			{"key as text", genuine, strings.TrimSpace(string(text)), 0, ""},
			{"one of several keys", genuine, both, 0, ""},
			{"forged sums", map[string]string{"SHA256SUMS.sig": signature, "SHA256SUMS": sums + "\n"}, public, 3, "isn't signed by --public-key: nothing was installed"},
			{"another key", genuine, other, 3, "isn't signed by"},
			{"no signature", nil, public, 1, "SHA256SUMS.sig can't be downloaded"},
			{"an empty signature", map[string]string{"SHA256SUMS.sig": ""}, public, 3, "isn't signed by"},
			{"no key", genuine, "/nowhere/release.pub", 2, "--public-key wants a key"},
			{"a key with options", genuine, `namespaces="x" ` + string(text), 2, "--public-key wants a key"},
			{"a file without a key", genuine, "/dev/null", 2, "--public-key wants a key"},
		} {
			t.Run(shell+"/"+test.name, func(t *testing.T) {
				needs.Command(t, shell, "curl")
				script := []string{installer}
				if shell == "busybox" {
					script = []string{"sh", installer}
				}
				prefix := t.TempDir()
				out, errs, code := ran(t, []string{"PATH=" + os.Getenv("PATH"), "PREFIX=" + prefix, "MIOSA_INSTALL_PUBLIC_KEY=" + test.key}, shell, append(script, "--base-url", serve(t, test.instead))...)
				if code != test.code || !strings.Contains(errs, test.message) {
					t.Errorf("exit code %d, want %d; standard error, where %q is wanted:\n%s", code, test.code, test.message, errs)
				}
				if files := installed(t, prefix); (len(files) > 0) != (code == 0) {
					t.Errorf("installed %v", files)
				}
				if code == 0 && !strings.Contains(out, "SHA256SUMS is signed by --public-key") {
					t.Errorf("it says\n%s", out)
				}
			})
		}
	}
}

// What is in front of an @ is a user, so a URL with one goes to another host than it seems to. The script accepts none, and doesn't
// repeat it.
func TestAttack_UserInURL(t *testing.T) {
	needs.Command(t, "sh", "curl")
	for _, url := range []string{
		"https://user@127.0.0.1:1/", "https://user:canary@127.0.0.1:1/", "https://releases.example.com:canary@127.0.0.1:1/", "https://:canary@127.0.0.1:1/", "https://@127.0.0.1:1/",
		"http://127.0.0.1:canary@192.0.2.1/", "http://localhost:1@192.0.2.1/", "http://[::1]:1@192.0.2.1/", "http://127.0.0.1:canary/", "http://127.0.0.1@192.0.2.1/",
		"https://127.0.0.1:1\\@192.0.2.1/canary", "https://192.0.2.1#@127.0.0.1:1/canary", "https://192.0.2.1?@127.0.0.1:1/canary", "https://192.0.2.1 @127.0.0.1:1/canary", "https://127.0.0.1:1/a\ncanary",
		"ftp://127.0.0.1:1/canary", "http://127.0.0.1.canary.example/", "http://localhost.canary.example/",
	} {
		for _, args := range [][]string{{"--base-url", url}, {"--base-url=" + url}, nil} {
			env := []string{"PATH=" + os.Getenv("PATH"), "PREFIX=" + t.TempDir()}
			if args == nil {
				env = append(env, "MIOSA_INSTALL_URL="+url)
			}
			out, errs, code := ran(t, env, "sh", append([]string{installer}, args...)...)
			if code != 2 || strings.Contains(out+errs, "canary") {
				t.Errorf("%q: exit code %d, want 2\n%s%s", url, code, out, errs)
			}
		}
	}
	// In a path, an @ has no meaning.
	_, errs, code := ran(t, []string{"PATH=" + os.Getenv("PATH")}, "sh", installer, "--base-url", "http://127.0.0.1:1/v@1", "--prefix", t.TempDir())
	if code != 1 || !strings.Contains(errs, "can't be downloaded") {
		t.Errorf("a path with an @: exit code %d\n%s", code, errs)
	}
}
