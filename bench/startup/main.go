// Startup measures what it costs to start a command through miosa-env, beside what the machine asks
// for anyway: every program below starts /bin/true, in turn, round after round, so that whatever
// else the machine does meets all of them alike. docs/benchmarks.md explains the figures.
//
//	go run ./bench/startup [-bin bin] [-rounds 200] [-warmup 20] [-check]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What -check holds. Source: docs/benchmarks.md, "What a start costs".
const (
	maxRatio  = 1.6
	maxPeak   = 12 << 20 // bytes
	maxBinary = 9e6      // bytes
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// config is what the flags say.
type config struct {
	bin            string // where make build put our programs
	rounds, warmup int
	check          bool
}

// run returns 0, 1 when something failed or -check found too much, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c config
	f := flag.NewFlagSet("startup", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.bin, "bin", "bin", "`directory` of miosa-env and miosa-vault")
	f.IntVar(&c.rounds, "rounds", 200, "how many rounds to measure")
	f.IntVar(&c.warmup, "warmup", 20, "how many rounds to run before")
	f.BoolVar(&c.check, "check", false, "fail where a target is missed")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if c.rounds < 1 || c.warmup < 0 || f.NArg() > 0 {
		fmt.Fprintln(stderr, "startup: error: -rounds must be at least 1, -warmup at least 0, and there are no arguments")
		return 2
	}
	missed, err := c.measure(ctx, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "startup: error: %v\n", err)
		return 1
	}
	for _, m := range missed {
		fmt.Fprintf(stdout, "target missed: %s\n", m)
	}
	if c.check && len(missed) > 0 {
		return 1
	}
	return 0
}

// measure prints the tables and returns the targets missed.
func (c config) measure(ctx context.Context, stdout io.Writer) (missed []string, err error) {
	dir, err := os.MkdirTemp("", "miosa-env-startup-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	agent, err := filepath.Abs(filepath.Join(c.bin, "miosa-env"))
	if err != nil {
		return nil, err
	}
	binary, err := os.Stat(agent)
	if err != nil {
		return nil, fmt.Errorf("%w (make build makes it)", err)
	}
	if err := buildFloors(ctx, dir); err != nil {
		return nil, err
	}
	few, err := startVault(ctx, c.bin, dir, 5)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, few.stop()) }()
	many, err := startVault(ctx, c.bin, dir, 100)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, many.stop()) }()

	floorExec, floorHTTP := filepath.Join(dir, "floor-exec"), filepath.Join(dir, "floor-http")
	const target = "/bin/true"
	t := &table{floor: 2, rows: []*row{
		{name: "bare " + target, argv: []string{target}, env: few.env},
		{name: "Go exec", argv: []string{floorExec, target}, env: few.env},
		{name: "floor: Go, one GET, exec", argv: []string{floorHTTP, few.url + "/healthz", target}, env: few.env},
		{name: "miosa-env run, 5 bindings", argv: []string{agent, "run", "--", target}, env: few.env, ours: true},
		{name: "miosa-env run, 100 bindings", argv: []string{agent, "run", "--", target}, env: many.env, ours: true},
	}}
	launcher := filepath.Join(dir, "launch")
	for round := range c.warmup + c.rounds {
		for _, r := range t.rows {
			s, err := launch(ctx, launcher, r)
			if err != nil {
				return nil, err
			}
			if round >= c.warmup {
				r.samples = append(r.samples, s)
			}
		}
	}
	fmt.Fprintf(stdout, "%d rounds of each, in turn, after %d to warm up\n\n", c.rounds, c.warmup)
	if err := t.print(stdout); err != nil {
		return nil, err
	}
	fmt.Fprint(stdout, "\nratio: the median over the rounds of wall time to the floor's in the same round (target 1.6)\n"+
		"peak memory: the most of any round (target 12.0 MiB); what starts the programs is counted in,\n"+
		"so nothing shows less than the bare command does here\n\n")
	for _, name := range []string{"miosa-env", "miosa-vault"} {
		info, err := os.Stat(filepath.Join(c.bin, name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(stdout, "%-12s %5.2f MB\n", name, float64(info.Size())/1e6)
	}
	return t.missed(binary.Size()), nil
}

// buildFloors builds the programs to compare with, as make build builds ours.
func buildFloors(ctx context.Context, dir string) error {
	for _, name := range []string{"floor-exec", "floor-http", "launch"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
			"-o", filepath.Join(dir, name), "github.com/Miosa-osa/miosa-env/bench/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", name, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// sample is what one run cost.
type sample struct {
	wall time.Duration
	peak int64 // bytes
}

// launch runs the row's command once, through bench/launch.
func launch(ctx context.Context, launcher string, r *row) (sample, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, launcher, r.argv...)
	cmd.Env, cmd.Stderr = r.env, &stderr
	out, err := cmd.Output()
	var wall, peak int64
	var status int
	if err == nil {
		_, err = fmt.Sscan(string(out), &wall, &peak, &status)
	}
	if err == nil && status != 0 {
		err = describe(syscall.WaitStatus(status))
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", r.name, err, strings.TrimSpace(stderr.String()))
	}
	return sample{time.Duration(wall), peak}, nil
}

func describe(s syscall.WaitStatus) error {
	if s.Signaled() {
		return fmt.Errorf("killed by signal %d", s.Signal())
	}
	return fmt.Errorf("exit status %d", s.ExitStatus())
}
