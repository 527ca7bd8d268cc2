//go:build !race

package packagetest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

const (
	root  = "../../.."
	epoch = releasetest.Epoch
	first = releasetest.First
)

// workDir is the folder for everything that these tests create.
var workDir string

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&workDir, m.Run)) }

// made is the folder with the results of make package for Linux.
var made = sync.OnceValues(func() (string, error) {
	out := filepath.Join(workDir, "dist")
	return out, releasetest.Make(root, out, nfpm(), first, "linux/amd64 linux/arm64")
})

// dist returns made, for a test.
func dist(t *testing.T) string {
	t.Helper()
	out, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nextVersion creates the next version, for one processor.
var nextVersion = sync.OnceValues(func() (string, error) {
	out := filepath.Join(workDir, "following")
	return out, releasetest.Make(root, out, nfpm(), releasetest.Next, "linux/amd64")
})

// nextDist returns following, for a test.
func nextDist(t *testing.T) string {
	t.Helper()
	out, err := nextVersion()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nfpm is the path of the program that creates packages.
func nfpm() string { return filepath.Join(workDir, "nfpm") }

// output runs a command, which must succeed, and returns its standard output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, errs, code := ran(t, nil, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// ran runs a command for at most three minutes. If environ is nil, it inherits the environment.
func ran(t *testing.T, environ []string, name string, args ...string) (out, errs string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr, c.Env, c.WaitDelay = &o, &e, environ, time.Second
	err := c.Run()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

// file returns the only file in the dist that matches a pattern.
func file(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist(t), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v %v", pattern, found, err)
	}
	return found[0]
}
