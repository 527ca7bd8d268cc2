package inject

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// What a hook may print, beyond which it is left out.
const (
	hookLine  = 4 << 10 // bytes
	hookLines = 1000    // of one run
)

// hookRest is how long the rest of what a hook prints is waited for, where something that it leaves
// running has its output open.
const hookRest = time.Second

// hooks runs one hook at a time, and once more when there was a change meanwhile.
type hooks struct {
	context context.Context // the output's life, which no caller of Write has
	cancel  context.CancelFunc

	runs, failures atomic.Int64 // that have ended; and of these, that failed or were killed

	mu      sync.Mutex // guards the fields below
	running bool
	again   bool
	due     bool             // a set was announced, and whether that is a change is not known yet
	coming  valueHashes      // of the set that was announced last
	written valueHashes      // of the set that is there
	masked  valueHashes      // of every set that a hook under way may have read
	traces  map[string]trace // of the set that is there
	told    map[string]trace // of the set that the last hook was started for, or that needed none
	ended   sync.WaitGroup
}

// expect announces a set before it is written: a hook that runs already may read it at once.
func (h *hooks) expect(set valueHashes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.coming, h.due = set, true
	if h.running {
		set = h.masked.with(set)
	}
	h.masked = set
}

// settle notes that the set that was announced is there, or won't be.
func (h *hooks) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due = false
}

// skip notes that a set is there which no hook has to run for. Nil: there is none.
func (h *hooks) skip(traces map[string]trace) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.traces = traces
	if !h.running || traces == nil {
		h.told = traces
	}
}

// changes is what is different from when it was asked for last: each run of the hook says what it is for.
func (h *hooks) changes() api.Changes {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told
	h.told = h.traces
	return changesOf(told, h.told)
}

// start runs the hook in a goroutine of its own, now that the set with these traces is there, which was announced
// last. paid is called when it has run and nothing more is to be done.
func (h *hooks) start(c OutputConfig, traces map[string]trace, paid func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written, h.traces = h.coming, traces
	if h.running {
		h.again = true
		return
	}
	if h.context.Err() != nil {
		return
	}
	h.running = true
	h.ended.Go(func() {
		for h.run(c); h.next(paid); h.run(c) {
		}
	})
}

// next tells whether to run once more.
func (h *hooks) next(paid func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = h.again && h.context.Err() == nil
	if !h.again && !h.due && h.context.Err() == nil { // else the last one was killed
		paid()
	}
	h.again = false
	h.masked = h.written.with(h.coming)
	return h.running
}

// hide masks a line of a hook's.
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

// run runs the hook to its end, or kills it and all of its process group when its time is over. Its
// environment is ours without what is ours alone, and MIOSA_OUTPUT, the output's path: no value is in
// it, and those it prints all the same are masked.
func (h *hooks) run(c OutputConfig) {
	log := c.Log.With().Str("output", c.Path).Logger()
	ctx, cancel := context.WithTimeout(h.context, c.hookTimeout())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Hook)
	cmd.Dir = "/"
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); classify(name) != ownName {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "MIOSA_OUTPUT="+c.Path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	lines := &hookLog{log: log, hide: h.hide, buffer: make([]byte, hookLine), line: make([]byte, 0, hookLine)}

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

// hookLog logs what a hook prints by lines.
type hookLog struct {
	log    zerolog.Logger
	hide   func(line []byte) string
	buffer []byte // never on a stack, of which copies stay behind when it grows
	line   []byte
	long   bool // the line is longer than what is kept of it
	count  int
}

// run runs a command and logs what it prints. The pipe is ours, and not one of exec's, which leaves what
// was printed last in a buffer on the heap: hooks print values.
func (l *hookLog) run(cmd *exec.Cmd) error {
	prints, end, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = prints.Close() }()
	cmd.Stdout, cmd.Stderr = end, end
	err = cmd.Start()
	_ = end.Close()
	if err != nil {
		return err
	}
	var reading sync.WaitGroup
	reading.Go(func() { l.read(prints) })
	err = cmd.Wait()
	_ = prints.SetReadDeadline(time.Now().Add(hookRest))
	reading.Wait()
	return err
}

// read reads to the end, or as long as it may, and leaves no copy behind.
func (l *hookLog) read(prints *os.File) {
	defer l.end()
	for {
		n, err := prints.Read(l.buffer)
		l.take(l.buffer[:n])
		clear(l.buffer[:n])
		if err != nil {
			return
		}
	}
}

func (l *hookLog) take(rest []byte) {
	for len(rest) > 0 {
		ended := false
		api.Quietly(func() {
			var line []byte
			line, rest, ended = bytes.Cut(rest, []byte("\n"))
			if l.long = l.long || len(l.line)+len(line) > hookLine; !l.long {
				l.line = append(l.line, line...)
			}
		})
		if ended {
			l.end()
		}
	}
}

// end tells what there is of a line. One that is too long isn't cut: it may hold half of a value.
func (l *hookLog) end() {
	if len(l.line) == 0 && !l.long {
		return
	}
	text, long := "", l.long
	if !long {
		text = l.hide(bytes.TrimSuffix(l.line, []byte("\r")))
	}
	clear(l.line[:cap(l.line)])
	l.line, l.long = l.line[:0], false
	switch l.count++; {
	case l.count == hookLines:
		l.log.Warn().Int("lines", hookLines).Msg("hook output too long: rest omitted")
	case l.count > hookLines:
	case long:
		l.log.Warn().Int("longest", hookLine).Msg("hook output line too long: omitted")
	default:
		l.log.Info().Str("line", text).Msg("hook")
	}
}
