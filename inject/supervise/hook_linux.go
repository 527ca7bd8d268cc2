package supervise

import (
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/command"
)

const hookTimeout = time.Minute

// hook is the hook of OnChange. One runs at a time.
type hook struct {
	pid      int // 0: none is running
	again    bool
	deadline <-chan time.Time
	streams  *streams
	log      zerolog.Logger
}

// runHook runs the hook with the new environment and MIOSA_COMMAND_PID, or once more after the current one. Its output goes
// to standard error, masked like the command's.
func (v *supervisor) runHook() {
	if v.hook.pid != 0 {
		v.hook.again = true
		return
	}
	streams := v.plainStreams()
	if v.Masked {
		end, err := streams.pipe(2)
		if err != nil {
			streams.abandon()
			v.Log.Error().Err(err).Msg("hook not started")
			return
		}
		streams.files[2] = end
	}
	streams.files[1] = streams.files[2]
	if null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		streams.files[0] = null
		streams.childEnds = append(streams.childEnds, null)
	}
	c := command.Command{
		Path: "/bin/sh",
		Args: []string{"sh", "-c", v.OnChange.Hook},
		Env:  append(slices.Clone(v.next.Env), "MIOSA_COMMAND_PID="+strconv.Itoa(v.pid)),
	}
	attr := command.Attr{Files: streams.files}
	attr.Setpgid, attr.Pdeathsig = true, unix.SIGTERM
	pid, err := c.Start(attr)
	streams.started()
	if err != nil {
		streams.abandon()
		v.Log.Error().Err(err).Msg("hook not started")
		return
	}
	v.hook = hook{pid: pid, streams: streams, deadline: time.After(hookTimeout), log: v.Log}
}

// hookEnded records the hook's end, and runs it once more if there was a change meanwhile and the command still runs.
func (v *supervisor) hookEnded(code int) {
	h := &v.hook
	h.streams.end()
	v.keep(h.streams)
	h.pid, h.deadline = 0, nil
	if code != 0 {
		h.log.Error().Int("exit_code", code).Msg("hook failed")
	}
	if h.again && v.pid != 0 {
		v.runHook()
	}
}

// kill kills a hook after its timeout.
func (h *hook) kill() {
	h.deadline = nil
	h.log.Error().Stringer("timeout", hookTimeout).Msg("hook timed out: killing it")
	_ = unix.Kill(-h.pid, unix.SIGKILL)
}
