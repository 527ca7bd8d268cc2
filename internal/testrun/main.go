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

// test runs go test and returns its exit code, or 128+n if signal n ended it.
func test(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	events, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = events.Close() }()
	c := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	c.Env = needs.NPMEnviron(os.Environ(), dir)
	c.Stdout, c.Stderr = out, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a signal reaches every process of the tests, once
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	started := time.Now()
	if err := errors.Join(c.Start(), out.Close()); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	stopped := make(chan syscall.Signal, 1)
	go func() {
		defer close(stopped)
		stopOn(signals, c.Process.Pid, ended, stopped, events)
	}()

	r := newReport(stdout)
	r.read(events)
	err = c.Wait()
	close(ended)
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && !failed {
		return 0, err
	}
	code := c.ProcessState.ExitCode()
	by, interrupted := <-stopped
	switch {
	case interrupted:
		code = 128 + int(by)
	case failed && code < 0:
		code = 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
	}
	r.finish(ctx, time.Since(started), interrupted)
	return code, nil
}

// stopOn forwards the first signal to the group and to stopped. After stopTimeout, or a second signal, it kills the group and
// closes events, which a surviving process may hold open.
func stopOn(signals <-chan os.Signal, group int, ended <-chan struct{}, stopped chan<- syscall.Signal, events io.Closer) {
	select {
	case <-ended:
		return
	case s := <-signals:
		stopped <- s.(syscall.Signal)
		_ = syscall.Kill(-group, s.(syscall.Signal))
	}
	patience := time.NewTimer(stopTimeout)
	defer patience.Stop()
	select {
	case <-ended:
	case <-signals:
	case <-patience.C:
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	_ = events.Close()
}
