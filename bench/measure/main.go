// Measure measures the real programs: the start of a command through miosa-env next to its floor, the time from a rotation at
// the vault to the machine's file and command, and the resources of an idle agent. docs/benchmarks.md explains the figures.
//
//	go run ./bench/measure [-bin bin] [-only startup,rotation,idle] [-check] ...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// config has the values of the flags.
type config struct {
	bin            string // folder of miosa-env and miosa-vault
	rounds, warmup int    // of starts
	rotations      int
	idle           time.Duration
	check          bool
}

// part is a measurement. It prints its figures and returns the targets missed. dir is for its files, in memory if the
// machine has /dev/shm, and is removed afterwards.
type part struct {
	name    string
	measure func(c config, ctx context.Context, dir string, stdout io.Writer) (missed []string, err error)
}

var parts = []part{{"startup", config.startup}, {"rotation", config.rotation}, {"idle", config.idling}}

// run returns 0, 1 after an error or if -check finds a missed target, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c config
	f := flag.NewFlagSet("measure", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.bin, "bin", "bin", "`directory` of miosa-env and miosa-vault")
	var chosen []part
	f.Func("only", "`parts` to measure, with commas between them: startup, rotation, idle (default all)", func(names string) error {
		for name := range strings.SplitSeq(names, ",") {
			i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
			if i < 0 {
				return fmt.Errorf("there is no part %q", name)
			}
			chosen = append(chosen, parts[i])
		}
		return nil
	})
	f.IntVar(&c.rounds, "rounds", 200, "how many rounds of starts to measure")
	f.IntVar(&c.warmup, "warmup", 20, "how many rounds of starts to run before")
	f.IntVar(&c.rotations, "rotations", 200, "how many rotations to measure")
	f.DurationVar(&c.idle, "idle", time.Minute, "how long to watch an idle agent")
	f.BoolVar(&c.check, "check", false, "fail where a target is missed")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if chosen == nil {
		chosen = parts
	}
	var err error
	c.bin, err = filepath.Abs(c.bin) // otherwise -bin . would search PATH
	if err == nil && (c.rounds < 1 || c.warmup < 0 || c.rotations < 1 || c.idle <= 0 || f.NArg() > 0) {
		err = errors.New("-rounds and -rotations must be at least 1, -warmup at least 0, -idle above 0, and there are no arguments")
	}
	if err != nil {
		fmt.Fprintf(stderr, "measure: error: %v\n", err)
		return 2
	}
	if c.bin, err = install(c.program("miosa-env"), c.program("miosa-vault")); err != nil {
		fmt.Fprintf(stderr, "measure: error: %v (make build makes it)\n", err)
		return 1
	}
	defer os.RemoveAll(c.bin) //nolint:errcheck // copies
	var missed []string
	for _, p := range chosen {
		m, err := c.inMemory(ctx, p, stdout)
		if err != nil {
			fmt.Fprintf(stderr, "measure: error: %s: %v\n", p.name, err)
			return 1
		}
		missed = append(missed, m...)
	}
	for _, m := range missed {
		fmt.Fprintf(stdout, "target missed: %s\n", m)
	}
	if c.check && len(missed) > 0 {
		return 1
	}
	return 0
}

// install copies programs into a new folder, as installers do: the kernel maps a file that was written in one go faster than one
// written by the linker.
func install(paths ...string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "miosa-env-bench-"); err != nil {
		return "", err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o700) //nolint:gosec // a program has to be executable
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// inMemory runs a part with a new folder.
func (c config) inMemory(ctx context.Context, p part, stdout io.Writer) (missed []string, err error) {
	const pattern = "miosa-env-bench-"
	dir, err := os.MkdirTemp("/dev/shm", pattern)
	if err != nil {
		dir, err = os.MkdirTemp("", pattern)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return p.measure(c, ctx, dir, stdout)
}

// program returns the path of miosa-env or miosa-vault.
func (c config) program(name string) string { return filepath.Join(c.bin, name) }
