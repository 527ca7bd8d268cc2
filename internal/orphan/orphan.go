// Package orphan reaps the processes that this process adopts: as process 1, as a subreaper, or from the shell that it
// replaced.
package orphan

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Reaper reaps orphans, and not the processes started with it, whose exit status their starter needs. All processes of the
// program must be started with it. On nil, which reaps nothing, Start and Wait are those of exec.Cmd.
type Reaper struct {
	mu      sync.Mutex // guards started; held while a process starts or orphans are reaped
	started int        // processes that were started and not yet waited for
	idle    chan struct{}
}

// New returns a Reaper for Run.
func New() *Reaper { return &Reaper{idle: make(chan struct{}, 1)} }

// Start starts a command. Call Wait for it.
func (r *Reaper) Start(cmd *exec.Cmd) error {
	if r == nil {
		return cmd.Start()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	r.started++
	return nil
}

// Wait waits for a command that Start has started.
func (r *Reaper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	if r == nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started--
	select {
	case r.idle <- struct{}{}:
	default:
	}
	return err
}

// Run reaps orphans until ctx ends. While a started process runs, orphans remain zombies.
func (r *Reaper) Run(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for {
		r.reap()
		select {
		case <-ctx.Done():
			return
		case <-ended:
		case <-r.idle:
		}
	}
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.started == 0 {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && pid <= 0 {
			return
		}
	}
}
