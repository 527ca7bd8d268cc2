// Command miosa-env starts a command with the secrets bound to its sandbox or computer in its
// environment, and keeps them current while it runs.
package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/machine"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/goroutine"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// version is set when linking.
var version = "unknown"

// A supervisor keeps the main goroutine on the initial thread: the kernel sends a command its parent-death signal when the
// thread that forked it ends, and signals that the supervisor sends to itself go to the initial thread. A goroutine can only
// be kept there before main begins. Without a supervisor there is no lock, since it costs a thread.
func init() {
	if os.Getpid() == 1 || os.Getenv("MIOSA_ON_REVOKE") != "" || os.Getenv("MIOSA_EGRESS") != "" || slices.ContainsFunc(os.Args, asksToStay) {
		runtime.LockOSThread()
	}
}

// asksToStay reports whether an argument may be a flag of run that needs a supervisor.
func asksToStay(arg string) bool {
	return strings.HasPrefix(arg, "--on-") || strings.HasPrefix(arg, "--mask") || strings.HasPrefix(arg, "--egress")
}

func main() {
	inherited.Act()
	goroutine.ReserveStack()
	version = cli.LinkedVersion(version)
	if code, ok := machine.Helper(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := program.New(version, args, os.Environ(), stdin, stdout, stderr)
	return p.Execute(ctx, newApp(p))
}
