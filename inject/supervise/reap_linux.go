package supervise

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/command"
)

// start starts v.command in its own process group, in the foreground if this process is there.
func (v *supervisor) start() error {
	streams := v.plainStreams()
	if v.Masked {
		v.renewMasker()
		var err error
		if streams, err = v.maskedStreams(); err != nil {
			return err
		}
	}
	pid, err := v.fork(streams)
	streams.started()
	v.signals.Order()
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
	attr := command.Attr{Files: streams.files}
	attr.Setpgid = true
	if !v.Outlive {
		attr.Pdeathsig = v.StopSignal
	}
	switch {
	case streams.session != nil:
		attr.Foreground = streams.pty.keys != nil
		attr.StopsForTerminal = !attr.Foreground && streams.pty.mayRead()
		return streams.session.start(v.command, attr)
	case v.shares(streams):
		attr.StopsForTerminal = v.terminal.holds()
	case v.terminal.holds():
		v.terminal.note()
		attr.Foreground, attr.Ctty, v.had = true, v.terminal.fd, true
	}
	return v.command.Start(attr)
}

// shares reports whether this process keeps the foreground until the command uses the terminal: in a pipeline other
// processes of this group may use it, and a command that has only its output on a pty needs this process's signals.
func (v *supervisor) shares(s *streams) bool { return v.lazy || s.pty != nil }

// reap handles all children that have ended or stopped: the command, a hook, and orphans.
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
			v.hookEnded(exitOf(status).Code)
		default:
			v.Log.Trace().Int("pid", pid).Msg("orphan reaped")
		}
	}
}

// ended records the command's end.
func (v *supervisor) ended(status unix.WaitStatus) {
	pid := v.pid
	v.pid, v.exit = 0, exitOf(status)
	v.keyed = v.terminal.foreground(v.group)
	if v.stopping && status.Signaled() && status.Signal() != v.StopSignal && v.asksToEnd(status.Signal()) {
		v.ending = true // a key's signal goes to the command's group, not to this process
	}
	v.Log.Debug().Int("pid", pid).Int("exit_code", v.exit.Code).Msg("command ended")
	if v.stopping && v.groupLeft() {
		v.send(-v.group, v.StopSignal)
		v.sweep = time.After(sweepEvery)
	}
}

// unreaped handles children that are gone although nobody reaped them: a tracer or a seccomp filter took their status.
func (v *supervisor) unreaped() {
	gone := func(pid int) bool { return pid != 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
	if gone(v.pid) {
		v.Log.Error().Int("pid", v.pid).Msg("command reaped elsewhere: exit code lost")
		v.pid, v.exit = 0, command.Exit{Code: command.ExitFailed}
	}
	if gone(v.hook.pid) {
		v.hookEnded(command.ExitFailed)
	}
}

func exitOf(status unix.WaitStatus) command.Exit {
	if status.Signaled() {
		return command.ExitBy(status.Signal())
	}
	return command.Exit{Code: status.ExitStatus()}
}

// gone reports whether the process group of a stopped command is gone. After the kill only the command itself is waited
// for, so that a process that can't be killed doesn't block.
func (v *supervisor) gone() bool { return v.killed || !v.groupLeft() }

func (v *supervisor) groupLeft() bool {
	v.empty = v.empty || errors.Is(unix.Kill(-v.group, 0), unix.ESRCH)
	return !v.empty
}

// stop asks the command to end before a deadline.
func (v *supervisor) stop() {
	v.stopping = true
	v.deadline = time.After(v.StopTimeout)
	v.send(v.pid, v.StopSignal)
	if v.pid != 0 && mayBeStopped(v.pid) {
		v.send(v.pid, unix.SIGCONT) // a stopped process can't end
	}
}

// end stops the command without a restart. Further calls send the stop signal again. If the command has ended, only its
// pending output is limited.
func (v *supervisor) end() {
	v.ending = true
	switch {
	case v.draining != nil:
		v.cutShort(unix.SIGTERM)
	case v.stopping:
		v.send(v.pid, v.StopSignal)
	default:
		v.stop()
	}
}

// kill kills what is left after the stop timeout.
func (v *supervisor) kill() {
	v.Log.Warn().Int("pid", v.pid).Stringer("timeout", v.StopTimeout).Msg("command did not stop in time: killing its process group")
	v.killed = true
	v.send(-v.group, unix.SIGKILL)
	v.send(v.pid, unix.SIGKILL) // it may have left its group
}

// send sends a signal to a process, or with a negative number to a group. 0 means it is gone.
func (v *supervisor) send(pid int, sig syscall.Signal) {
	if pid != 0 {
		v.sent(pid, sig, unix.Kill(pid, sig))
	}
}
