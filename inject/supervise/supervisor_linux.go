package supervise

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/mask"
	"github.com/Miosa-osa/miosa-env/inject/signal"
)

// sweepEvery is how often a stopping process group is checked, besides at each SIGCHLD: members that aren't children of
// this process end without one.
const sweepEvery = 20 * time.Millisecond

// Supervision configures how a command is run.
type Supervision struct {
	OnChange    Change         // what happens when the command's environment changes
	StopSignal  syscall.Signal // asks the command to end; 0: SIGTERM
	StopTimeout time.Duration  // from StopSignal to SIGKILL; 0: DefaultStopTimeout
	Settle      time.Duration  // how long to wait for further changes after a change; 0: not at all
	Outlive     bool           // the command gets no signal when this process is killed
	Masked      bool           // the values of Command.Mask are masked in the output
	Log         zerolog.Logger
}

// Run runs a command until it ends. Commands received from changes replace it as OnChange says. When ctx ends, the command
// is stopped as by SIGTERM.
//
// Run is one loop on one thread that starts, signals and reaps the command, so these don't race, and the parent-death
// signal, which the kernel ties to the thread that forked, is sent when this process ends and not before. No other code
// in this process may wait for children.
//
// Errors: those of command.StartError, and for a restart such an error whose ExitCode is command.ExitFailed.
func (s Supervision) Run(ctx context.Context, signals *signal.Queue, first command.Command, changes <-chan command.Command) (command.Exit, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s.StopSignal == 0 {
		s.StopSignal = unix.SIGTERM
	}
	if s.StopTimeout == 0 {
		s.StopTimeout = DefaultStopTimeout
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			s.Log.Debug().Err(err).Msg("cannot adopt orphans: process 1 reaps them") // an emulator or a seccomp filter
		}
	}
	v := &supervisor{
		Supervision: s, signals: signals, command: first, masked: first.Mask,
		terminal: openTerminal(), lazy: inPipeline() || !aloneInGroup(),
	}
	if err := v.start(); err != nil {
		return command.Exit{Code: command.ExitFailed}, err
	}
	return v.loop(ctx, changes)
}

// supervisor is the state of a Run.
type supervisor struct {
	Supervision
	signals  *signal.Queue
	terminal *terminal
	lazy     bool // give the command the foreground only when it uses the terminal
	had      bool // the command has had the foreground

	command  command.Command  // the current or last command
	next     *command.Command // the command since a change, until the restart
	masked   []api.Bound      // values to mask, in the order they came: all of this command, and the last ones of the previous command
	masker   *mask.Masker     // of masked
	unmasked []string         // names of values that are too short to be masked
	streams  *streams
	relays   []*relay     // of streams whose command has ended, but to which others may still write
	pid      int          // of the command; 0: reaped
	group    int          // its process group
	empty    bool         // the group was found empty; its number may have been reused
	exit     command.Exit // of the last command
	keyed    bool         // it was in the foreground when it ended: a signal that ended it came from a key
	stopping bool         // the stop signal was sent
	ending   bool         // no restart after this stop
	killed   bool         // the stop timeout has passed

	settle   <-chan time.Time // after a change
	settleBy time.Time        // when to apply changes at the latest
	deadline <-chan time.Time // while stopping
	sweep    <-chan time.Time // while stopping, after the command was reaped

	draining   <-chan struct{}  // after the command's end: closed when its output has been written
	patience   <-chan time.Time // limits draining; nil: no limit
	cut        bool             // the limit has passed
	cutBy      syscall.Signal   // the signal that set the limit
	outputLost atomic.Bool

	hook hook
}

func (v *supervisor) loop(ctx context.Context, changes <-chan command.Command) (command.Exit, error) {
	ended := ctx.Done()
	for {
		select {
		case <-v.signals.Arrived:
			for _, one := range v.signals.Take() {
				v.receive(one)
			}
		case <-v.signals.Children:
			v.reap()
		case next, ok := <-changes:
			if !ok {
				changes = nil
				continue
			}
			v.changed(next)
		case <-v.settle:
			v.settle = nil
			v.apply()
		case <-v.deadline:
			v.deadline = nil
			v.kill()
		case <-v.sweep:
			v.sweep = time.After(sweepEvery)
		case <-v.streams.ended:
			// The terminal is gone, so the command's terminal ends too.
			v.streams.pty.hangUp()
		case e := <-v.sessionEvents():
			v.reported(e)
		case <-v.draining:
		case <-v.patience:
			v.cut = true
		case <-v.hook.deadline:
			v.hook.kill()
		case <-ended:
			ended = nil
			v.end()
		}
		if v.pid != 0 || v.stopping && !v.gone() || !v.drained() {
			continue
		}
		if !v.stopping || v.ending || v.next == nil {
			return v.leave(), nil
		}
		if v.had {
			v.terminal.restore()
		}
		v.masked = union(slices.Clone(v.command.Mask), v.next.Mask) // earlier output may still be shown
		v.command, v.next = *v.next, nil
		if err := v.start(); err != nil {
			return command.Exit{Code: command.ExitFailed}, restartError{err}
		}
	}
}

// restartError is the error if a command that was running can't be started again. 126 and 127 would mean that it never ran.
type restartError struct{ error }

func (e restartError) Error() string { return "restart: " + e.error.Error() }
func (e restartError) Unwrap() error { return e.error }

// ExitCode returns ExitFailed.
func (restartError) ExitCode() int { return command.ExitFailed }
