package inject

import (
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// hook is the command of on-change=hook, of which one runs at a time.
type hook struct {
	pid      int // 0: none runs
	again    bool
	deadline <-chan time.Time
	streams  *streams
	log      zerolog.Logger
}

// runHook runs the hook with the new environment and MIOSA_COMMAND_PID, or once more when the one
// under way has ended. What it prints goes where the command's errors go, masked as they are.
func (v *supervisor) runHook() {
	if v.hook.pid != 0 {
		v.hook.again = true
		return
	}
	v.hook = hook{log: v.Log}
	streams := plainStreams()
	if v.Masked {
		var err error
		if streams, err = hookStreams(v.masker, v.lost); err != nil {
			v.Log.Error().Err(err).Msg("hook not started")
			return
		}
	}
	if null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		streams.files[0] = uintptr(null)
		streams.theirs = append(streams.theirs, null)
	}
	if !v.Masked {
		streams.files[1] = 2
	}
	c := Command{
		Path: "/bin/sh",
		Args: []string{"sh", "-c", v.OnChange.Hook},
		Env:  append(slices.Clone(v.next.Env), "MIOSA_COMMAND_PID="+strconv.Itoa(v.pid)),
	}
	pid, err := spawn(c, streams.files, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM})
	streams.started()
	if err != nil {
		streams.abandon()
		v.Log.Error().Err(err).Msg("hook not started")
		return
	}
	v.hook.pid, v.hook.streams, v.hook.deadline = pid, streams, time.After(hookTimeout)
}

// ended notes how the hook went. What it printed is passed on beside what the command prints.
func (h *hook) ended(code int) {
	h.streams.end()
	h.pid, h.deadline = 0, nil
	if code != 0 {
		h.log.Error().Int("exit_code", code).Msg("hook failed")
	}
}

// kill ends a hook that takes too long.
func (h *hook) kill() {
	h.deadline = nil
	h.log.Error().Stringer("timeout", hookTimeout).Msg("hook timed out: killing it")
	_ = unix.Kill(-h.pid, unix.SIGKILL)
}
