// Herd measures a vault that thousands of agents wait at: its memory and CPU, how long a rotation takes to reach all of them, and how soon
// they wait again after the vault was killed. docs/benchmarks.md explains the figures.
//
//	go run ./bench/herd [-bin bin] [-agents 10000] [-database sqlite,postgres] [-transport http,tls] [-before FILE] [-check] ...
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
	bin        string // folder of miosa-vault
	before     string // another miosa-vault, which is measured first; "": none
	dir        string // parent of the folders of the vaults
	databases  []string
	transports []string
	agents     int
	bindings   int // of secrets that all agents have
	waves      int // rotations of a secret that all agents have
	single     int // rotations of a secret that one agent has
	settle     time.Duration
	idle       time.Duration
	hold       time.Duration
	throughput bool // only
	check      bool
}

// run returns 0, 1 after an error or if -check finds a missed target, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c config
	f := flag.NewFlagSet("herd", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.bin, "bin", "bin", "`directory` of miosa-vault")
	f.StringVar(&c.before, "before", "", "`file` of another miosa-vault, with the same schema of the database, to measure in the same run")
	f.StringVar(&c.dir, "dir", "", "`directory` for the data of the vaults (default: the system's for temporary files)")
	databases := f.String("database", "sqlite,postgres", "sqlite, postgres (a server of Debian's package), or the `URL` of an empty PostgreSQL database")
	transports := f.String("transport", "http,tls", "http, tls, or both with a comma between them")
	f.IntVar(&c.agents, "agents", 10_000, "how many agents wait")
	f.IntVar(&c.bindings, "bindings", 1, "how many secrets all agents have; each has one more of its own")
	f.IntVar(&c.waves, "waves", 3, "how many times to rotate a secret that all agents have")
	f.IntVar(&c.single, "single", 50, "how many times to rotate a secret that one agent has")
	f.DurationVar(&c.settle, "settle", 20*time.Second, "how long to wait before measuring memory")
	f.DurationVar(&c.idle, "idle", 30*time.Second, "how long to measure the CPU of a vault at which all agents wait")
	f.DurationVar(&c.hold, "hold", 0, "how long to watch the memory of a vault at which all agents wait, such as 1h")
	f.BoolVar(&c.throughput, "throughput", false, "measure only writes and reveals per second")
	f.BoolVar(&c.check, "check", false, "fail where a target is missed")
	if err := f.Parse(args); err != nil {
		return 2
	}
	c.databases, c.transports = strings.Split(*databases, ","), strings.Split(*transports, ",")
	err := c.validate()
	if err == nil && f.NArg() > 0 {
		err = errors.New("there are no arguments")
	}
	if err != nil {
		fmt.Fprintf(stderr, "herd: error: %v\n", err)
		return 2
	}
	missed, err := c.measure(ctx, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "herd: error: %v\n", err)
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

func (c *config) validate() error {
	for _, t := range c.transports {
		if t != "http" && t != "tls" {
			return fmt.Errorf("-transport is http or tls, not %q", t)
		}
	}
	if c.agents < 1 || c.bindings < 1 || c.waves < 1 || c.single < 1 || c.settle < 0 || c.idle <= 0 || c.hold < 0 {
		return errors.New("-agents, -bindings, -waves and -single must be at least 1, -idle above 0, -settle and -hold at least 0")
	}
	for _, file := range slices.Concat(c.binaries()) {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w (make build makes it)", err)
		}
	}
	return nil
}

// binaries are the programs to measure.
func (c *config) binaries() []string {
	measured := []string{filepath.Join(c.bin, "miosa-vault")}
	if c.before != "" {
		measured = append([]string{c.before}, measured...)
	}
	return measured
}

// measure measures each program on each database over each transport.
func (c *config) measure(ctx context.Context, stdout io.Writer) (missed []string, err error) {
	if err := allowFiles(uint64(c.agents) + 1000); err != nil {
		return nil, err
	}
	for _, name := range c.databases {
		err := c.withDatabase(ctx, name, func(d *data) error {
			for _, binary := range c.binaries() {
				fmt.Fprintf(stdout, "%s with %d clients over http on %s\n\n", binary, clients, d.name)
				m, err := c.measureThroughput(ctx, d, binary, stdout)
				if err != nil {
					return err
				}
				if binary != c.before {
					missed = append(missed, m...)
				}
			}
			if c.throughput {
				return nil
			}
			for _, transport := range c.transports {
				for _, binary := range c.binaries() {
					fmt.Fprintf(stdout, "%s with %d agents over %s on %s\n\n", binary, c.agents, transport, d.name)
					m, err := c.waiting(ctx, d, binary, transport, stdout)
					if err == nil && d.database != "" {
						var more []string
						more, err = c.failover(ctx, d, binary, transport, stdout)
						m = append(m, more...)
					}
					if err != nil {
						return err
					}
					if binary != c.before {
						missed = append(missed, m...)
					}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return missed, nil
}

// allowFiles raises the limit of open files, of this process and of those that it starts.
func allowFiles(n uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	now.Max = max(now.Max, n)
	now.Cur = now.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w (ulimit -Hn)", n, err)
	}
	return nil
}
