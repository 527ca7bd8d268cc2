// Package releasetest runs `make package` for tests of releases.
package releasetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// The version that the documents install, the version they upgrade to, and the time of both commits.
const (
	First = "v1.2.3"
	Next  = "v1.3.0"
	Epoch = 1700000000
)

// Programs are the released programs, each of which has packages.
var Programs = []string{"miosa-env", "miosa-vault", "miosa-egress"}

// Make runs `make package` in sources for platforms, in the Makefile's form. nfpm is the path of that program, which is built
// if it doesn't exist.
func Make(sources, out, nfpm, version, platforms string, environ ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // with empty caches on a busy machine
	defer cancel()
	c := exec.CommandContext(ctx, "make", "--no-print-directory", "package",
		"OUT="+out, "NFPM="+nfpm, "PLATFORMS="+platforms, "VERSION="+version, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", Epoch))
	c.Dir = sources
	c.Env = append(Clean(os.Environ()), environ...)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("make package: %w\n%s", err, said)
	}
	return nil
}

// Clean removes the variables of an outer make from an environment.
func Clean(environ []string) []string {
	makes := []string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VERSION", "OUT", "NFPM", "BIN", "PREFIX", "DESTDIR", "GOOS", "GOARCH"}
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(makes, name)
	})
}
