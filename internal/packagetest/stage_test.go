//go:build !race

package packagetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	root  = "../.."
	epoch = 1700000000 // the time of a commit
	first = "v1.2.3"
)

// workplace is a folder for everything these tests make.
var workplace string

func TestMain(m *testing.M) {
	code := 1
	var err error
	if workplace, err = os.MkdirTemp("", "packagetest"); err == nil {
		code = m.Run()
		err = os.RemoveAll(workplace)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// made is the folder of what make package makes for Linux.
var made = sync.OnceValues(func() (string, error) {
	out := filepath.Join(workplace, "dist")
	return out, makePackage(root, out, "linux/amd64 linux/arm64")
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

func makePackage(sources, out, platforms string, environment ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "make", "--no-print-directory", "package",
		"OUT="+out, "NFPM="+filepath.Join(workplace, "nfpm"), "PLATFORMS="+platforms, "VERSION="+first, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch))
	c.Dir = sources
	c.Env = append(clean(os.Environ()), environment...)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("make package: %w\n%s", err, said)
	}
	return nil
}

// clean is an environment without what a make around us has set.
func clean(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VERSION", "OUT", "NFPM", "BIN", "PREFIX", "GOOS", "GOARCH":
		default:
			kept = append(kept, entry)
		}
	}
	return kept
}

// need skips a test where a program isn't here.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: %s isn't here; .ci/run says which package has it", name)
		}
	}
}

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
