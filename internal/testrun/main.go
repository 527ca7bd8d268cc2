// Command testrun runs go test with its arguments, and prints a table of the skipped tests, what they require, and how to install
// that. `make test`, `make test-fast` and `make race` run it in the root of the repository.
//
//	testrun -count=1 ./...
//	testrun debian    lists the Debian packages that the tests use and this machine lacks
//	testrun npm       lists the npm packages that this machine lacks, with versions
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// stopTimeout is how long tests may run after a signal.
const stopTimeout = 10 * time.Second

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	switch strings.Join(args, " ") {
	case "debian":
		fmt.Fprintln(stdout, strings.Join(needs.MissingDebianPackages(), "\n"))
		return 0
	case "npm":
		fmt.Fprintln(stdout, strings.Join(needs.NPMPackages(needs.MissingNPM(ctx)...), "\n"))
		return 0
	}
	code, err := test(ctx, args, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "testrun: error:", err)
		return 1
	}
	return code
}

// interruption is a signal that ended the tests.
type interruption syscall.Signal

func (i interruption) Error() string { return syscall.Signal(i).String() }

// test runs go test and returns its exit code, or 128+n if signal n ended it. The first signal goes to every process of the tests.
// What still runs after stopTimeout, or a second signal, is killed.
func test(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	r := newReport(stdout)
	c := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	c.Env = needs.NPMEnviron(os.Environ(), dir)
	c.Stdout, c.Stderr = r, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	group := func(s syscall.Signal) error { return syscall.Kill(-c.Process.Pid, s) }
	interrupted := func() (by interruption, ok bool) { return errors.AsType[interruption](context.Cause(ctx)) }
	c.Cancel = func() error {
		by, _ := interrupted()
		return group(syscall.Signal(by))
	}
	c.WaitDelay = stopTimeout
	started := time.Now()
	if err := c.Start(); err != nil {
		return 0, err
	}
	var forwarding sync.WaitGroup
	forwarding.Go(func() {
		for s := range signals {
			if ctx.Err() == nil {
				cancel(interruption(s.(syscall.Signal)))
			} else {
				_ = group(syscall.SIGKILL)
			}
		}
	})
	err = c.Wait()
	signal.Stop(signals)
	close(signals)
	forwarding.Wait()

	code := c.ProcessState.ExitCode()
	by, signaled := interrupted()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case signaled:
		_ = group(syscall.SIGKILL)
		code = 128 + int(by)
	case failed && code < 0:
		code = 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
	case err != nil && !failed:
		return 0, err
	}
	r.finish(ctx, time.Since(started), signaled)
	return code, nil
}
