// Package releasetest is for tests of what is handed out: it makes packages of a version as `make package` does.
package releasetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The version that the documents install, the one that they upgrade to, and the time of both's commits.
const (
	First = "v1.2.3"
	Next  = "v1.3.0"
	Epoch = 1700000000
)

// Make runs `make package` in sources for platforms, as the Makefile names them, with the program nfpm at a path, where it
// is built if it isn't there.
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

// Clean is an environment without what a make around us has set.
func Clean(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VERSION", "OUT", "NFPM", "BIN", "PREFIX", "DESTDIR", "GOOS", "GOARCH":
		default:
			kept = append(kept, entry)
		}
	}
	return kept
}
