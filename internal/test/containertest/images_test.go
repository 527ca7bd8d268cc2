package containertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Images of the tests.
const (
	ours    = "localhost/miosa-env" // of packaging/container/Dockerfile
	theirs  = "localhost/your-app"  // a user's image: only a program
	wrapped = "localhost/wrapped"   // of packaging/container/wrap.Dockerfile
	busybox = "docker.io/library/busybox"
)

// buildImages builds the tests' images: the programs as make build does, the project's image with the shipped
// Dockerfile, and images that stand for a user's.
func (e *engine) buildImages() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	stage := filepath.Join(e.dir, "stage/out")
	build := exec.CommandContext(ctx, "make", "build", "BIN="+stage)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	// The image with Go has the same Debian package.
	if err := copyFile("/etc/ssl/certs/ca-certificates.crt", filepath.Join(stage, "ca-certificates.crt")); err != nil {
		return err
	}
	theirApp := filepath.Join(e.dir, "your-app")
	app := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(theirApp, "app")) // this package, static
	app.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := app.CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	small := filepath.Join(e.dir, "busybox")
	if err := copyBusybox(ctx, small); err != nil {
		return err
	}
	for dir, text := range map[string]string{
		theirApp: "FROM scratch\nCOPY app /app\nUSER 1000:1000\nENTRYPOINT [\"/app\"]\nCMD [\"show\"]\n",
		small:    "FROM scratch\nCOPY . /\nCMD [\"sh\"]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"build", "-t", ours, "-f", "packaging/container/Dockerfile", "."},
		{"build", "-t", theirs, theirApp},
		{"build", "-t", wrapped, "-f", "packaging/container/wrap.Dockerfile", "."},
		{"build", "-t", busybox, small},
	} {
		if _, err := e.do(args...); err != nil {
			return err
		}
	}
	return nil
}

// copyBusybox creates a folder with this machine's busybox, its libraries and its commands.
func copyBusybox(ctx context.Context, dir string) error {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := copyFile(path, filepath.Join(dir, "bin/busybox")); err != nil {
		return err
	}
	out, _ := exec.CommandContext(ctx, "ldd", path).Output() // fails for a static binary
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			if err := copyFile(word, filepath.Join(dir, word)); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"sh", "cat", "chmod", "cp", "echo", "id", "ls", "mkdir", "sleep", "stat", "test", "true"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// The image is small and has a user other than root.
func TestImage(t *testing.T) {
	e := ready(t)
	var images []struct {
		Size   int64
		Config struct {
			User       string
			Entrypoint []string
			Env        []string
		}
	}
	if err := json.Unmarshal([]byte(e.must(t, "image", "inspect", ours)), &images); err != nil || len(images) != 1 {
		t.Fatalf("podman image inspect: %d images, %v", len(images), err)
	}
	if size, most := images[0].Size, int64(10e6); size > most {
		t.Errorf("the image has %d bytes, want at most %d", size, most)
	} else {
		t.Logf("the image has %.2f MB", float64(size)/1e6)
	}
	config := images[0].Config
	if diff := cmp.Diff("65532:65532", config.User); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/miosa-env"}, config.Entrypoint); diff != "" {
		t.Errorf("entrypoint (-want +got):\n%s", diff)
	}
	e.run(t, nil, ours, "version").wants(t, 0, "miosa-env")
	e.run(t, nil, ours).wants(t, 2, "a command is missing")
}
