package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	maxIdleCPU = 5 * time.Millisecond // of an idle agent in a minute, for -check
	idleSettle = 3 * time.Second      // after the start, before measuring
)

// idling measures an agent that only waits for changes.
func (c config) idling(ctx context.Context, dir string, stdout io.Writer) (missed []string, err error) {
	if runtime.GOOS != "linux" { // no /proc
		return nil, errors.New("an idle agent can be measured on Linux only: leave it out with -only startup,rotation")
	}
	m, err := c.startMachine(ctx, dir, "idle", 100)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	if err := c.startAgent(ctx, m, true); err != nil {
		return nil, err
	}
	before, err := m.usageAfter(ctx, idleSettle)
	if err != nil {
		return nil, err
	}
	after, err := m.usageAfter(ctx, c.idle)
	if err != nil {
		return nil, err
	}
	cpu := after.cpu - before.cpu
	fmt.Fprintf(stdout, "An idle agent with 100 bindings and a file, over %s\n\n"+
		"  memory    %.1f MiB (target 12.0)\n  CPU       %.2f ms (target 5 in a minute)\n  wake-ups  %d, by all its threads together\n\n",
		c.idle, float64(after.memory)/(1<<20), float64(cpu)/1e6, after.wakes-before.wakes)
	if after.memory > maxPeak {
		missed = append(missed, fmt.Sprintf("an idle agent needs %.1f MiB, at most %d wanted", float64(after.memory)/(1<<20), maxPeak>>20))
	}
	if float64(cpu) > float64(maxIdleCPU)*max(c.idle.Minutes(), 1) {
		missed = append(missed, fmt.Sprintf("an idle agent takes %s of CPU in %s, at most %s a minute wanted", cpu, c.idle, maxIdleCPU))
	}
	return missed, nil
}

// usage is what a process has used since it started.
type usage struct {
	memory int64         // resident now, in bytes
	cpu    time.Duration // of all threads
	wakes  int64         // times that a thread stopped waiting
}

// usageAfter waits, and returns what the agent has used.
func (m *machine) usageAfter(ctx context.Context, wait time.Duration) (u usage, err error) {
	if err := delay.Sleep(ctx, wait); err != nil {
		return u, err
	}
	pid := m.agent.Pid()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) == 0 {
		return u, errors.Join(err, fmt.Errorf("process %d isn't there", pid))
	}
	for _, thread := range threads {
		schedule, err := os.ReadFile(filepath.Join(thread, "schedstat")) // nanoseconds running, waiting, and times run
		if err != nil {
			return u, err
		}
		running, _, _ := strings.Cut(string(schedule), " ")
		ns, err := strconv.ParseInt(running, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ns)
		status, err := os.ReadFile(filepath.Join(thread, "status"))
		if err != nil {
			return u, err
		}
		u.wakes += field(string(status), "voluntary_ctxt_switches:")
		u.memory = field(string(status), "VmRSS:") << 10 // the same for each
	}
	return u, nil
}

// field returns the number on a line of a status file, or 0.
func field(status, name string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
