package supervise

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/command"
)

// drainGrace is how long pending output may take after a signal has asked this process to end.
const drainGrace = 500 * time.Millisecond

// drained reports whether the output of a command that has ended was written or given up. It is called until it returns
// true. A reader that doesn't read blocks this process for as long as it would block the command: until a signal, or for
// StopTimeout if the command was stopped.
func (v *supervisor) drained() bool {
	if v.draining == nil {
		v.deadline = nil // of the command
		v.terminal.take(v.group)
		v.streams.end()
		v.keep(v.streams)
		v.draining = allDrained(v.relays)
		if v.stopping {
			v.patience = time.After(v.StopTimeout)
		}
	}
	if !v.cut && !isClosed(v.draining) {
		return false
	}
	v.streams.pty.cook()
	return true
}

// keep keeps the relays of streams whose command has ended.
func (v *supervisor) keep(s *streams) {
	v.relays = slices.DeleteFunc(v.relays, func(r *relay) bool { return isClosed(r.stopped) })
	v.relays = append(v.relays, s.relays...)
}

// allDrained returns a channel that is closed when each relay has written its command's output.
func allDrained(relays []*relay) <-chan struct{} {
	relays = slices.Clone(relays) // the end of a hook may change them meanwhile
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, r := range relays {
			<-r.drained
		}
	}()
	return done
}

// cutShort limits draining because a signal asks this process to end.
func (v *supervisor) cutShort(sig syscall.Signal) {
	v.ending = true
	if v.cutBy == 0 {
		v.cutBy, v.patience = sig, time.After(drainGrace)
	}
}

// lost logs output that can't be written. A closed pipe isn't logged, since the command gets SIGPIPE. It is called on a
// relay's goroutine.
func (v *supervisor) lost(stream string, err error) {
	if brokenPipe(err) {
		return
	}
	v.outputLost.Store(true)
	v.Log.Error().Str("stream", stream).Err(errors.Unwrap(err)).Msg("output lost: write failed")
}

func brokenPipe(err error) bool {
	return errors.Is(err, errReaderGone) || errors.Is(err, unix.EPIPE)
}

// leave finishes with the output when the last command has ended, and returns this process's exit.
func (v *supervisor) leave() command.Exit {
	if v.cut {
		for _, r := range v.relays {
			if !isClosed(r.drained) {
				v.outputLost.Store(true)
				v.Log.Error().Str("stream", streamName(r.out.fd)).Msg("output lost: reader too slow")
			}
		}
	}
	if v.hook.pid != 0 {
		v.hook.streams.end()
		v.keep(v.hook.streams)
	}
	v.handOver()
	switch {
	case v.cut && v.cutBy != 0:
		return command.ExitBy(v.cutBy)
	case v.exit.Code != 0:
		v.exit.Group = v.keyed
		return v.exit
	case v.outputLost.Load():
		return command.Exit{Code: command.ExitFailed}
	case slices.ContainsFunc(v.streams.relays, func(r *relay) bool { return isClosed(r.stopped) && brokenPipe(r.lost) }):
		return command.Exit{Code: command.ExitBy(unix.SIGPIPE).Code}
	}
	return v.exit
}

// handOver starts a helper that continues the relays to which processes left by the command can still write. As process 1
// there is none, since all other processes end with this one.
func (v *supervisor) handOver() {
	var left []*relay
	for _, r := range v.relays {
		r.park()
		select {
		case <-r.stopped:
			if !r.ended {
				left = append(left, r)
			}
		case <-time.After(drainGrace):
			// Blocked writing to a terminal, which can't be interrupted.
		}
	}
	if len(left) == 0 {
		return
	}
	if os.Getpid() != 1 {
		err := startOutput(left)
		if err == nil {
			return
		}
		v.Log.Warn().Err(err).Msg("later output of remaining processes is lost")
	}
	for _, r := range left {
		r.close(r.out.resume())
	}
}
