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

// workplace is a folder for everything these tests make.
var workplace string

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&workplace, m.Run)) }

// made is the folder of what make package makes for Linux.
var made = sync.OnceValues(func() (string, error) {
	out := filepath.Join(workplace, "dist")
	return out, releasetest.Make(root, out, nfpm(), first, "linux/amd64 linux/arm64")
})

// dist is made, for a test.
func dist(t *testing.T) string {
	t.Helper()
	out, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// following makes the version after, for one processor.
var following = sync.OnceValues(func() (string, error) {
	out := filepath.Join(workplace, "following")
	return out, releasetest.Make(root, out, nfpm(), releasetest.Next, "linux/amd64")
})

// later is following, for a test.
func later(t *testing.T) string {
	t.Helper()
	out, err := following()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nfpm is where the program that makes packages is put.
func nfpm() string { return filepath.Join(workplace, "nfpm") }

// said runs a command and returns what it wrote to standard output. It must succeed.
func said(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, errs, code := ran(t, nil, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// ran runs a command, in our environment where none is given, for three minutes at most.
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

// file is the one that a pattern finds in the dist.
func file(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist(t), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v %v", pattern, found, err)
	}
	return found[0]
}
