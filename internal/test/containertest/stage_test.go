package containertest

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// compiler replaces the image with Go, because no registry is available: it uses this machine's files, a Debian
// with Go, git, make and certificate authorities.
const compiler = "docker.io/library/golang:1.26"

// goEnv returns the output of go env.
func goEnv(t *testing.T, names ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// buildCompiler creates the image and returns the flags that give podman build access to this machine's files.
func (e *engine) buildCompiler(t *testing.T) []string {
	t.Helper()
	places := goEnv(t, "GOROOT", "GOMODCACHE", "GOCACHE")
	goroot, modules, objects := places[0], places[1], places[2]
	dir := t.TempDir()
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tmp", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Puts all modules into the machine's cache, so that the build needs no network.
	download := exec.CommandContext(t.Context(), "go", "mod", "download")
	download.Dir = root
	if out, err := download.CombinedOutput(); err != nil {
		needs.System(t, "the modules from the Go module proxy: %v\n%s", err, out)
	}
	text := fmt.Sprintf("FROM scratch\nCOPY . /\nENV PATH=%s/bin:/usr/bin HOME=/root GOMODCACHE=/modules GOCACHE=/objects GOPROXY=off GOTOOLCHAIN=local GOFLAGS=\n", goroot)
	file := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e.must(t, "build", "-t", compiler, "-f", file, dir)
	flags := []string{"--volume=" + modules + ":/modules:ro", "--volume=" + objects + ":/objects"}
	for _, path := range []string{"/usr", "/etc/alternatives", "/etc/ssl", goroot} {
		flags = append(flags, "--volume="+path+":"+path+":ro")
	}
	return flags
}

// The complete Dockerfile builds the same program as make build.
func TestFirstStage(t *testing.T) {
	s := newFixture(t)
	for _, path := range []string{"/usr/bin/sh", "/usr/bin/git", "/usr/bin/make"} {
		if _, err := os.Stat(path); err != nil {
			needs.System(t, "a Debian with git and make: %v", err)
		}
	}
	flags := s.buildCompiler(t)
	here := filepath.Join(s.dir, "stage/out/miosa-env")
	out, err := exec.CommandContext(t.Context(), here, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(out)) // miosa-env VERSION PLATFORM
	if len(words) < 2 {
		t.Fatalf("miosa-env version says %q", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const image = "localhost/from-sources"
	// The podman in e.dir/bin would omit the first stage.
	build := exec.CommandContext(ctx, s.real, append([]string{
		"build", "--signature-policy", filepath.Join(s.dir, "policy.json"), "--pull=never", "--layers=false", "--network=none",
		"--build-arg=VERSION=" + words[1], "-t", image, "-f", "packaging/container/Dockerfile",
	}, append(flags, ".")...)...)
	build.Dir, build.Env, build.WaitDelay = root, s.environ(), 5*time.Second
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("podman build: %v\n%s", err, out[max(0, len(out)-4000):])
	}
	c := s.must(t, "create", image)
	t.Cleanup(func() {
		if _, err := s.do("rm", c); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	for _, path := range []string{"/miosa-env", "/etc/ssl/certs/ca-certificates.crt"} {
		s.must(t, "cp", c+":"+path, dir)
	}
	for name, want := range map[string]string{"miosa-env": here, "ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		same, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, same) {
			t.Errorf("%s has %d bytes that aren't the %d of %s", name, len(got), len(same), want)
		}
	}
	program, err := elf.Open(filepath.Join(dir, "miosa-env"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the program isn't static: it has %v", part.Type)
		}
	}
	s.run(t, nil, append(append(s.configure(t, ""), restricted...), "--tmpfs=/run", image, "agent", "--check")...).wants(t, 0)
}
