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
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// version is set when linking.
var version = "unknown"

// Where we may stay as a command's parent, the main goroutine stays on the thread the process began with.
// The kernel ties the signal a command gets at our death to the thread that forked it, and that thread must
// live as long as we do; and it gives that thread the signals we send ourselves. A main goroutine moves
// before main begins, if ever. Where we become the command the lock is left out: it costs a thread.
func init() {
	if os.Getpid() == 1 || os.Getenv("MIOSA_ON_REVOKE") != "" || slices.ContainsFunc(os.Args, asksToStay) {
		runtime.LockOSThread()
	}
}

// asksToStay tells whether an argument could be a flag of run that needs us as the parent.
func asksToStay(arg string) bool {
	return strings.HasPrefix(arg, "--on-") || strings.HasPrefix(arg, "--mask")
}

func main() {
	inherited.Act()
	version = cli.LinkedVersion(version)
	if code, ok := machine.Helper(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the program but for the process around it: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := program.New(version, args, os.Environ(), stdin, stdout, stderr)
	return p.Execute(ctx, rootCommand(p))
}
