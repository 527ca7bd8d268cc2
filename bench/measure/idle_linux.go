package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What -check holds of an idle agent, over a minute.
const (
	maxIdleCPU = 5 * time.Millisecond
	idleSettle = 3 * time.Second // what a start leaves to be done
)

// idling measures what an agent needs that has nothing to do but to wait.
func (c config) idling(ctx context.Context, dir string, stdout io.Writer) (missed []string, err error) {
	m, err := c.startMachine(ctx, dir, "idle", 100)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	if err := c.startAgent(ctx, m, true); err != nil {
		return nil, err
	}
	if err := pause(ctx, idleSettle); err != nil {
		return nil, err
	}
	before, err := usageOf(m.agent.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, c.idle); err != nil {
		return nil, err
	}
	after, err := usageOf(m.agent.cmd.Process.Pid)
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
	wakes  int64         // times that a thread ceased to wait
}

func usageOf(pid int) (usage, error) {
	var u usage
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

// field is the number on a line of a status file. 0: there is no such line.
func field(status, name string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
