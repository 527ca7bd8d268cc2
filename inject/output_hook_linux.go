package inject

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// What a hook may print, beyond which it is left out.
const (
	hookLine  = 4 << 10 // bytes
	hookLines = 1000    // of one run
)

// hooks runs one hook at a time, and once more when there was a change meanwhile.
type hooks struct {
	context context.Context // the output's life, which no caller of Write has
	cancel  context.CancelFunc

	mu      sync.Mutex // guards the fields below
	running bool
	again   bool
	masked  shadows
	ended   sync.WaitGroup
}

// start runs the hook in a goroutine of its own.
func (h *hooks) start(c OutputConfig, masked shadows) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.masked = masked
	if h.running {
		h.again = true
		return
	}
	if h.context.Err() != nil {
		return
	}
	h.running = true
	h.ended.Go(func() {
		for h.run(c); h.next(); h.run(c) {
		}
	})
}

// next tells whether to run once more.
func (h *hooks) next() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = h.again && h.context.Err() == nil
	h.again = false
	return h.running
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
	h.mu.Lock()
	masked := h.masked
	h.mu.Unlock()
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
	lines := &hookLog{log: log, masked: masked, line: make([]byte, 0, hookLine)}
	cmd.Stdout, cmd.Stderr = lines, lines
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second // for what it leaves running with its output open

	began := time.Now()
	err := cmd.Run()
	lines.end()
	took := time.Since(began).Round(time.Millisecond)
	switch exit := (*exec.ExitError)(nil); {
	case h.context.Err() != nil:
		log.Info().Msg("hook killed: its output is closed")
	case ctx.Err() != nil && err != nil:
		log.Error().Dur("timeout", c.hookTimeout()).Msg("hook didn't end in time: killed")
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		log.Info().Dur("took", took).Msg("hook done")
	case errors.As(err, &exit):
		log.Error().Dur("took", took).Str("status", exit.String()).Msg("hook failed")
	default:
		log.Error().Err(err).Msg("hook not started")
	}
}

// hookLog is a writer of lines to a log.
type hookLog struct {
	log    zerolog.Logger
	masked shadows
	line   []byte
	long   bool // the line is longer than what is kept of it
	count  int
}

func (l *hookLog) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if l.long = l.long || len(l.line)+len(line) > hookLine; !l.long {
			l.line = append(l.line, line...)
		}
		if ended {
			l.end()
		}
		rest = after
	}
	return len(b), nil
}

// end tells what there is of a line. One that is too long isn't cut: it may hold half of a value.
func (l *hookLog) end() {
	defer func() {
		clear(l.line[:cap(l.line)])
		l.line, l.long = l.line[:0], false
	}()
	if len(l.line) == 0 && !l.long {
		return
	}
	switch l.count++; {
	case l.count == hookLines:
		l.log.Warn().Int("lines", hookLines).Msg("hook prints much: the rest is left out")
	case l.count > hookLines:
	case l.long:
		l.log.Warn().Int("longest", hookLine).Msg("hook printed a line that is too long: left out")
	default:
		l.log.Info().Str("line", l.masked.hide(bytes.TrimSuffix(l.line, []byte("\r")))).Msg("hook")
	}
}

// shadows recognise values in text without holding them: lengths in bytes -> hashes -> names. The lines
// of a value that has several stand for themselves. Those under MinMasked are too common to be masked.
type shadows struct {
	seed    maphash.Seed
	lengths []int // the longest first
	names   map[int]map[uint64]string
}

func shadowsOf(pairs []Named) shadows {
	s := shadows{seed: maphash.MakeSeed(), names: map[int]map[uint64]string{}}
	for _, pair := range pairs {
		pair.Value.Use(func(value []byte) {
			for line := range bytes.SplitSeq(value, []byte("\n")) {
				n := len(line)
				if n < MinMasked || n > hookLine {
					continue
				}
				if s.names[n] == nil {
					s.names[n] = map[uint64]string{}
					s.lengths = append(s.lengths, n)
				}
				s.names[n][maphash.Bytes(s.seed, line)] = pair.Name
			}
		})
	}
	slices.Sort(s.lengths)
	slices.Reverse(s.lengths)
	return s
}

// hide replaces values in a line by their names in brackets. Of such that overlap no byte is left.
func (s shadows) hide(line []byte) string {
	var out strings.Builder
	hidden := 0 // up to here line is covered
	for i := range line {
		for _, n := range s.lengths {
			if i+n <= len(line) && i+n > hidden {
				if name, ok := s.names[n][maphash.Bytes(s.seed, line[i:i+n])]; ok {
					if i >= hidden {
						out.WriteString("[" + name + "]")
					}
					hidden = i + n
					break
				}
			}
		}
		if i >= hidden {
			out.WriteByte(line[i])
		}
	}
	return out.String()
}
