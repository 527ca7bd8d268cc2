package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Targets of a start, for -check. Source: docs/benchmarks.md, "Startup".
const (
	maxVaultRatio  = 1.55     // to the floor of one HTTP request, with 5 bindings
	maxManyRatio   = 1.75     // the same with 100 bindings
	maxTLSRatio    = 1.4      // to the floor of one HTTP request over TLS that knows one root
	maxAgentRatio  = 1.5      // to the floor of one unix socket
	maxFollowRatio = 1.3      // of a supervised command to one that isn't
	maxPeak        = 12 << 20 // bytes
	maxBinary      = 9e6      // bytes
)

// startup measures starts: every program below starts /bin/true, in turn, round after round, so that the machine's other
// load affects all of them.
func (c config) startup(ctx context.Context, dir string, stdout io.Writer) (missed []string, err error) {
	if err := buildFloors(ctx, dir); err != nil {
		return nil, err
	}
	installed, err := install(floors(dir)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(installed)) }()
	program := map[string]string{}
	for _, path := range floors(installed) {
		program[filepath.Base(path)] = path
	}
	ours := c.program("miosa-env")
	var machines []*machine // with few bindings, and with many
	for _, bindings := range []int{5, 100} {
		m, err := c.startMachine(ctx, dir, strconv.Itoa(bindings), bindings)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, m.stop()) }()
		if err := c.startAgent(ctx, m, false); err != nil {
			return nil, err
		}
		machines = append(machines, m)
	}
	few, many := machines[0], machines[1]
	proxy, err := few.startTLS(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, proxy.listener.Close()) }()
	const target = "/bin/true"
	run := []string{ours, "run", "--", target}
	bare := &row{name: "bare " + target, argv: []string{target}, env: few.vaultEnv()}
	http := &row{name: "floor: Go, one GET, exec", env: few.vaultEnv(),
		argv: []string{program["floor-http"], few.vault.URL() + "/healthz", target}}
	socket := &row{name: "floor: Go, one unix socket, exec", env: few.agentEnv(),
		argv: []string{program["floor-socket"], few.socket, target}}
	https := &row{name: "floor: Go, one GET over TLS, one root, exec",
		env:  proxy.environ(few, "SSL_CERT_FILE="+proxy.root, "SSL_CERT_DIR="+proxy.noFolders, "GODEBUG=http2client=0"),
		argv: []string{program["floor-http"], proxy.url() + "/healthz", target}}
	agent := &row{name: "the same through the agent, 5", argv: run, env: few.agentEnv(), floor: socket, most: maxAgentRatio}
	t := &table{bare: bare, rows: []*row{
		bare,
		{name: "Go exec", argv: []string{program["floor-exec"], target}, env: few.vaultEnv()},
		http,
		{name: "miosa-env run, 5 bindings", argv: run, env: few.vaultEnv(), floor: http, most: maxVaultRatio},
		{name: "miosa-env run, 100 bindings", argv: run, env: many.vaultEnv(), floor: http, most: maxManyRatio},
		https,
		{name: "miosa-env run over TLS, one root, 5", argv: run, env: proxy.environ(few, "MIOSA_CA_FILE="+proxy.root),
			floor: https, most: maxTLSRatio},
		{name: "miosa-env run over TLS, system's roots, 5", argv: run, env: proxy.environ(few, "SSL_CERT_FILE="+proxy.roots),
			floor: https, most: maxTLSRatio},
		socket,
		agent,
		{name: "the same through the agent, 100", argv: run, env: many.agentEnv(), floor: socket, most: maxAgentRatio},
		{name: "the same, --on-change restart, 5", argv: []string{ours, "run", "--on-change", "restart", "--", target},
			env: few.agentEnv(), floor: agent, most: maxFollowRatio},
	}}
	for round := range c.warmup + c.rounds {
		for _, r := range t.rows {
			s, err := launch(ctx, program["launch"], r)
			if err != nil {
				return nil, err
			}
			if round >= c.warmup {
				r.samples = append(r.samples, s)
			}
		}
	}
	fmt.Fprintf(stdout, "A command's start: %d rounds of each, in turn, after %d to warm up\n\n", c.rounds, c.warmup)
	if err := t.print(stdout); err != nil {
		return nil, err
	}
	fmt.Fprint(stdout, "\nto floor: the median over the rounds of wall time to that of its floor in the same round,\n"+
		"with --on-change to that of the same without it\n"+
		"peak memory: the highest of all rounds (target 12.0 MiB), at least that of the program that starts them\n\n")
	size := map[string]int64{}
	for _, name := range []string{"miosa-env", "miosa-vault"} {
		info, err := os.Stat(c.program(name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(stdout, "%-12s %5.2f MB\n", name, float64(info.Size())/1e6)
		size[name] = info.Size()
	}
	fmt.Fprintln(stdout)
	return t.missed(size["miosa-env"]), nil
}

// floors returns, below a prefix, the programs to compare with, and launch, which starts them all.
func floors(prefix string) []string {
	return []string{prefix + "/floor-exec", prefix + "/floor-http", prefix + "/floor-socket", prefix + "/launch"}
}

// buildFloors builds the programs to compare with in dir, as make build builds ours.
func buildFloors(ctx context.Context, dir string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + "/"}
	cmd := exec.CommandContext(ctx, "go", append(args, floors("github.com/Miosa-osa/miosa-env/bench")...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the floors: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// sample is the cost of one run.
type sample struct {
	wall time.Duration
	peak int64 // bytes
}

// launch runs the row's command once, with bench/launch.
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
	if s := syscall.WaitStatus(status); err == nil && s.Signaled() {
		err = fmt.Errorf("killed by signal %d", s.Signal())
	} else if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d", s.ExitStatus())
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", r.name, err, strings.TrimSpace(stderr.String()))
	}
	return sample{time.Duration(wall), peak}, nil
}
