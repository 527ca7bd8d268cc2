// Package testmain has the parts that the TestMain functions of several packages share. Each function returns an exit
// code for os.Exit.
package testmain

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// WithFolder calls run, which is m.Run or calls it, with folder set to the path of a new, empty folder that other users
// may enter. The folder is removed when run returns.
func WithFolder(folder *string, run func() int) int {
	path, err := os.MkdirTemp("", "miosa-test-")
	if err == nil {
		err = os.Chmod(path, 0o755) //nolint:gosec // programs in it are run as other users
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*folder = path
	code := run()
	if err := os.RemoveAll(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// WithoutLeaks runs the tests of m and fails if a goroutine outlives them: in a daemon each would be a connection or a
// timer that collects for months.
func WithoutLeaks(m *testing.M) int {
	// The goroutine that receives signals, which fuzzing starts, never ends: start it before counting.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	signal.Stop(signals)
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !poll.Within(10*time.Second, func() bool { return runtime.NumGoroutine() <= before }) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines left over:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		return 1
	}
	return code
}
