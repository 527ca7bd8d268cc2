package inject

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

const (
	hookTimeout = time.Minute
	// sweepEvery is how often what is left of a stopping process group is looked at, beside each
	// SIGCHLD: a member with a parent elsewhere ends without telling us.
	sweepEvery = 20 * time.Millisecond
)

// Supervision is how a command is run as our child.
type Supervision struct {
	OnChange    Change         // what a change of the command's environment does
	StopSignal  syscall.Signal // asks the command to end; 0: SIGTERM
	StopTimeout time.Duration  // from StopSignal to SIGKILL; 0: DefaultStopTimeout
	Settle      time.Duration  // a change waits for this long without another; 0: not at all
	Outlive     bool           // the command isn't told when we are killed
	Masked      bool           // Command.Mask is taken out of the output
	Log         zerolog.Logger
}

// Run starts first and stays with it until it ends, and returns how that was. Every command that comes over changes is what to run from now
// on. When ctx ends the command is stopped, as by SIGTERM.
//
// Run is one loop in one goroutine on one thread: it starts, signals and reaps, so no two of these
// ever race; and the kernel's parent-death signal, which is tied to the thread that forked, comes
// when the process is gone and not before. Nothing else in the process may wait for children.
// Errors: *StartError.
func (s Supervision) Run(ctx context.Context, signals *Signals, first Command, changes <-chan Command) (Exit, error) {
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
			s.Log.Debug().Err(err).Msg("cannot adopt orphans: process 1 reaps them") // an emulator, or a filter of calls
		}
	}
	v := &supervisor{
		Supervision: s, signals: signals, command: first, masked: first.Mask,
		terminal: openTerminal(), lazy: inPipeline() || !aloneInGroup(),
	}
	if err := v.start(); err != nil {
		return Exit{Code: ExitFailed}, err
	}
	return v.loop(ctx, changes)
}

// supervisor is the state of a Run. One row a field: what it says, and what changes it.
type supervisor struct {
	Supervision
	signals  *Signals
	terminal *terminal
	lazy     bool // the foreground is passed on only when the command asks for the terminal
	had      bool // the command had the foreground

	command  Command      // what runs, or ran last
	next     *Command     // what is to run instead: since a change, until the restart
	masked   []api.Bound  // what its output may not show, in the order it came: all it was given, and what the one before had last
	masker   *mask.Masker // of masked
	unmasked []string     // names of values that are too short for it
	streams  *streams
	relays   []*relay // of streams whose command has ended, and which others may still write to
	pid      int      // the command's, 0 when it was reaped
	group    int      // its process group
	empty    bool     // that was found empty: its number may be somebody else's by now
	exit     Exit     // of the command that was reaped last
	keyed    bool     // it was in the foreground then: a signal that it died of was a key's
	stopping bool     // the stop signal was sent
	ending   bool     // no restart after this stop
	killed   bool     // the stop timeout has passed

	settle   <-chan time.Time // since a change
	settleBy time.Time        // changes that never cease are taken up then
	deadline <-chan time.Time // while stopping
	sweep    <-chan time.Time // while stopping, since the command was reaped

	draining   <-chan struct{}  // since the command's end: closed when what it wrote was passed on
	patience   <-chan time.Time // how long that may take, where there is a limit
	cut        bool             // it took longer
	cutBy      syscall.Signal   // a signal that set the limit
	outputLost atomic.Bool

	hook hook
}

func (v *supervisor) loop(ctx context.Context, changes <-chan Command) (Exit, error) {
	ended := ctx.Done()
	for {
		select {
		case <-v.signals.arrived:
			for _, one := range v.signals.take() {
				v.receive(one)
			}
		case <-v.signals.children:
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
			// Our terminal has gone, and with it the command's.
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
		v.masked = union(slices.Clone(v.command.Mask), v.next.Mask) // what was written before may be shown yet
		v.command, v.next = *v.next, nil
		if err := v.start(); err != nil {
			return Exit{Code: ExitFailed}, err
		}
	}
}

// start starts v.command, in a process group of its own, in the foreground if we are there.
func (v *supervisor) start() error {
	streams, err := v.open()
	if err != nil {
		return err
	}
	pid, err := v.fork(streams)
	streams.started()
	v.signals.order()
	if err != nil {
		streams.abandon()
		return err
	}
	v.draining, v.patience, v.cut = nil, nil, false
	v.streams, v.pid, v.group, v.empty = streams, pid, pid, false
	if streams.pty != nil {
		streams.pty.command.Store(int64(pid))
	}
	v.stopping, v.killed, v.deadline, v.sweep = false, false, nil, nil
	v.Log.Debug().Int("pid", pid).Msg("command started")
	return nil
}

// fork starts v.command with its streams.
func (v *supervisor) fork(streams *streams) (pid int, err error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if !v.Outlive {
		attr.Pdeathsig = v.StopSignal
	}
	c := v.command
	switch {
	case streams.host != nil:
		foreground := streams.pty.keys != nil
		c.asks = !foreground && streams.pty.mayRead()
		return streams.host.start(c, streams.files, foreground, attr.Pdeathsig)
	case v.shares(streams):
		c.asks = v.terminal.holds()
	case v.terminal.holds():
		attr.Foreground, attr.Ctty, v.had = true, v.terminal.fd, true
	}
	return spawn(c, streams.files, attr)
}

func (v *supervisor) open() (*streams, error) {
	if !v.Masked {
		return plainStreams(), nil
	}
	v.mask()
	return v.maskedStreams()
}

// mask makes the masker anew.
func (v *supervisor) mask() {
	var short []string
	v.masker, short = mask.New(v.masked)
	for _, name := range short {
		if slices.Contains(v.unmasked, name) {
			continue // said before: values of the past are masked too
		}
		v.unmasked = append(v.unmasked, name)
		v.Log.Warn().Str("name", name).Int("shortest", mask.MinLength).Msg("value is too short to be masked")
	}
}

// given takes up what the command, or its hook, has been given: the output of what runs already mustn't show
// that either.
func (v *supervisor) given(next Command) {
	v.command.Env, v.command.Bound, v.command.Mask = next.Env, next.Bound, next.Mask
	if v.Masked {
		v.masked = union(v.masked, next.Mask)
		v.mask()
		v.streams.setMasker(v.masker)
	}
}

// union appends those of more that all doesn't have.
func union(all, more []api.Bound) []api.Bound {
	for _, m := range more {
		if !slices.ContainsFunc(all, func(a api.Bound) bool { return a.ExposeAsEnv == m.ExposeAsEnv && a.Value.Equal(m.Value) }) {
			all = append(all, m)
		}
	}
	return all
}

// shares tells whether the terminal's foreground stays with us until the command asks for the terminal:
// in a pipeline others of our group use it, and with only its output on our pty we need its signals.
func (v *supervisor) shares(s *streams) bool { return v.lazy || s.pty != nil }

// reap collects every child that has ended or stopped: the command, a hook, and whatever orphans the
// kernel gave us.
func (v *supervisor) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || pid == 0:
			v.unreaped()
			return
		case status.Stopped():
			if pid == v.pid {
				v.stopped(status.StopSignal())
			}
		case pid == v.pid:
			v.ended(status)
		case pid == v.hook.pid:
			v.hook.ended(exitOf(status).Code)
			v.keep(v.hook.streams)
			if v.hook.again {
				v.runHook()
			}
		default:
			v.Log.Trace().Int("pid", pid).Msg("orphan reaped")
		}
	}
}

// ended takes note of the command's end.
func (v *supervisor) ended(status unix.WaitStatus) {
	pid := v.pid
	v.pid, v.exit = 0, exitOf(status)
	v.keyed = v.terminal.foreground(v.group)
	if v.stopping && status.Signaled() && status.Signal() != v.StopSignal && v.asksToEnd(status.Signal()) {
		v.ending = true // the terminal's keys go to the command's group, not to us
	}
	v.Log.Debug().Int("pid", pid).Int("exit_code", v.exit.Code).Msg("command ended")
	if v.stopping && v.groupLeft() {
		v.send(-v.group, v.StopSignal)
		v.sweep = time.After(sweepEvery)
	}
}

// unreaped looks for children that are gone though nobody has reaped them: a tracer, or a filter of system calls,
// has taken their status.
func (v *supervisor) unreaped() {
	gone := func(pid int) bool { return pid != 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
	if gone(v.pid) {
		v.Log.Error().Int("pid", v.pid).Msg("command reaped elsewhere: exit code lost")
		v.pid, v.exit = 0, Exit{Code: ExitFailed}
	}
	if gone(v.hook.pid) {
		v.hook.ended(ExitFailed)
	}
}

// exitOf is what a shell makes of a status.
func exitOf(status unix.WaitStatus) Exit {
	if status.Signaled() {
		return exitBy(status.Signal())
	}
	return Exit{Code: status.ExitStatus()}
}

// gone tells whether a stopped command and all of its process group are. After the kill nothing is
// waited for but the command: what can't be killed holds nothing up.
func (v *supervisor) gone() bool { return v.killed || !v.groupLeft() }

func (v *supervisor) groupLeft() bool {
	v.empty = v.empty || errors.Is(unix.Kill(-v.group, 0), unix.ESRCH)
	return !v.empty
}

// changed notes what to run from now on.
func (v *supervisor) changed(next Command) {
	previous := v.next
	v.next = &next
	if v.stopping { // the restart under way takes it
		if previous != nil && !v.ending {
			v.Log.Info().Any("changes", next.since(*previous)).Msg("restarting command with a later change")
		}
		return
	}
	now := time.Now()
	if v.settle == nil {
		v.settleBy = now.Add(10 * v.Settle)
	}
	v.settle = time.After(min(v.Settle, v.settleBy.Sub(now)))
}

// apply does what a settled change asks for.
func (v *supervisor) apply() {
	if v.next == nil || v.stopping || slices.Equal(v.next.Env, v.command.Env) {
		return
	}
	changes := v.next.since(v.command)
	switch {
	case v.OnChange.Restart:
		v.Log.Info().Any("changes", changes).Int("pid", v.pid).Msg("restarting command")
		v.stop()
	case v.OnChange.Signal != 0:
		v.Log.Info().Any("changes", changes).Int("pid", v.pid).Str("signal", signalName(v.OnChange.Signal)).Msg("signalling command")
		v.given(*v.next)
		v.send(v.pid, v.OnChange.Signal)
	case v.OnChange.Hook != "":
		v.Log.Info().Any("changes", changes).Int("pid", v.pid).Msg("running hook")
		v.given(*v.next)
		v.runHook()
	}
}

// stop asks the command to end, and sets the time by which it must have.
func (v *supervisor) stop() {
	v.stopping = true
	v.deadline = time.After(v.StopTimeout)
	v.send(v.pid, v.StopSignal)
	if v.pid != 0 && mayBeStopped(v.pid) {
		v.send(v.pid, unix.SIGCONT) // else it couldn't end
	}
}

// end stops the command for good. Each further call asks it again.
func (v *supervisor) end() {
	v.ending = true
	if v.stopping {
		v.send(v.pid, v.StopSignal)
		return
	}
	v.stop()
}

// kill ends what is left when the stop timeout has passed.
func (v *supervisor) kill() {
	v.Log.Warn().Int("pid", v.pid).Stringer("timeout", v.StopTimeout).Msg("command did not stop in time: killing its process group")
	v.killed = true
	v.send(-v.group, unix.SIGKILL)
	v.send(v.pid, unix.SIGKILL) // it may have left its group
}

// receive acts on a signal sent to us. One that has a value is passed on with it, and with its sender.
func (v *supervisor) receive(one sent) {
	if int(one.pid) == os.Getpid() && (one.signal() == unix.SIGINT || one.signal() == unix.SIGQUIT) {
		return // a key's, from keyboard.signal: the command has it from its pty
	}
	if one.byKernel() && (one.signal() == unix.SIGTTIN || one.signal() == unix.SIGTTOU) {
		return // about our process group and the terminal, not about the command
	}
	if !one.withValue() || one.number < firstRealTime {
		v.forward(one.signal())
		return
	}
	v.Log.Debug().Str("signal", signalName(one.signal())).Int("pid", v.pid).Msg("signal received")
	if v.pid == 0 {
		return
	}
	_, _, errno := unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(v.pid), uintptr(one.number), uintptr(unsafe.Pointer(&siginfo{sent: one})))
	if errno != 0 {
		v.unsent(v.pid, one.signal(), errno)
	}
}

// send signals a process, or with a negative number a group. 0 is one that is gone.
func (v *supervisor) send(pid int, sig syscall.Signal) {
	if pid == 0 {
		return
	}
	if err := unix.Kill(pid, sig); err != nil {
		v.unsent(pid, sig, err)
	}
}

func (v *supervisor) unsent(pid int, sig syscall.Signal, err error) {
	if !errors.Is(err, unix.ESRCH) {
		v.Log.Warn().Err(err).Int("pid", pid).Str("signal", signalName(sig)).Msg("signal not sent")
	}
}
