package output

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// hooks runs one hook at a time, and once more if there was a change meanwhile.
type hooks struct {
	conf    Config
	context context.Context // ends when the output is closed
	cancel  context.CancelFunc

	runs, failures atomic.Int64 // hooks that have ended; those of them that failed or were killed

	mu       sync.Mutex // guards the fields below
	running  bool
	again    bool
	due      bool        // a set was announced and isn't written yet
	masked   valueHashes // of the set that was announced last, and of those that a running hook may have read
	traces   traces      // of the set that is written
	reported traces      // of the set of the last hook, or of a later one that needed no hook
	ended    sync.WaitGroup
}

// expect announces a set before it is written, since a running hook may read it at once.
func (h *hooks) expect(set valueHashes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due = true
	if h.running {
		set = h.masked.with(set)
	}
	h.masked = set
}

// settle notes that the announced set was written, or won't be.
func (h *hooks) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due = false
}

// skip notes a written set that needs no hook; nil: the output was removed.
func (h *hooks) skip(t traces) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.traces = t
	if !h.running || t == nil {
		h.reported = t
	}
}

// changes returns the changes since the previous call.
func (h *hooks) changes() api.Changes {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.reported
	h.reported = h.traces
	return before.changes(h.reported)
}

// start runs the hook in a goroutine after the announced set was written. It calls done when hooks have run for all sets.
func (h *hooks) start(t traces, done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.traces = t
	if h.running {
		h.again = true
		return
	}
	if h.context.Err() != nil {
		return
	}
	h.running = true
	h.ended.Go(func() {
		for again := true; again; again = h.next(done) {
			h.run()
		}
	})
}

// next reports whether to run the hook once more.
func (h *hooks) next(done func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	closed := h.context.Err() != nil // then the hook was killed
	h.running = h.again && !closed
	if !h.again && !h.due && !closed {
		done()
	}
	h.again = false
	return h.running
}

// hide masks a line of a hook's output.
func (h *hooks) hide(line []byte) (text string) {
	h.mu.Lock()
	masked := h.masked
	h.mu.Unlock()
	api.Quietly(func() { text = masked.hide(line) })
	return text
}

func (h *hooks) close() {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.ended.Wait()
}

// run runs the hook. After its timeout it kills the hook's process group. The hook gets this process's environment without
// variables of miosa-env, plus the output's path in MIOSA_OUTPUT, but no values; values that it prints are masked.
func (h *hooks) run() {
	c := h.conf
	log := c.Log.With().Str("output", c.Path).Logger()
	ctx, cancel := context.WithTimeout(h.context, c.hookTimeout())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Hook)
	cmd.Dir = "/"
	inherited := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return environ.IsOwn(name)
	})
	cmd.Env = append(inherited, "MIOSA_OUTPUT="+c.Path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	lines := &hookLog{orphans: c.Orphans, log: log, hide: h.hide}

	log.Info().Any("changes", h.changes()).Msg("running hook")
	began := time.Now()
	err := lines.run(cmd)
	took := time.Since(began).Round(time.Millisecond)
	h.runs.Add(1)
	if err != nil {
		h.failures.Add(1)
	}
	switch exit := (*exec.ExitError)(nil); {
	case h.context.Err() != nil:
		log.Info().Msg("hook killed: its output is closed")
	case ctx.Err() != nil && err != nil:
		log.Error().Stringer("timeout", c.hookTimeout()).Msg("hook timed out: killed")
	case err == nil:
		log.Info().Stringer("took", took).Msg("hook done")
	case errors.As(err, &exit):
		log.Error().Stringer("took", took).Str("status", exit.String()).Msg("hook failed")
	default:
		log.Error().Err(err).Msg("hook not started")
	}
}
