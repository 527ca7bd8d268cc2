package inject

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainGrace is how long output that is under way may take once a signal has asked us to end.
const drainGrace = 500 * time.Millisecond

// drained reports whether what the command wrote was passed on, or was given up. It is called once the command
// and what was to be stopped with it are gone, until it reports true. A reader that doesn't read holds us up for as
// long as it would hold up the command: until a signal, or until the stop timeout where we are stopping anyway.
func (v *supervisor) drained() bool {
	if v.draining == nil {
		v.deadline = nil // it was the command's
		v.terminal.take(v.group)
		v.streams.end()
		v.keep(v.streams)
		v.draining = allCaught(v.relays)
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

// keep goes on with the relays of streams whose command has ended.
func (v *supervisor) keep(s *streams) {
	v.relays = slices.DeleteFunc(v.relays, func(r *relay) bool { return isClosed(r.stopped) })
	v.relays = append(v.relays, s.relays...)
}

// allCaught is closed when each relay has passed on what its command wrote.
func allCaught(relays []*relay) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, r := range relays {
			<-r.caught
		}
	}()
	return done
}

// cutShort ends the waiting for a reader: sig asks us to end.
func (v *supervisor) cutShort(sig syscall.Signal) {
	v.ending = true
	if v.cutBy == 0 {
		v.cutBy, v.patience = sig, time.After(drainGrace)
	}
}

// lost reports output that can't be written. A reader that is gone isn't news: the command gets its SIGPIPE.
// It is called on a relay's goroutine.
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

// leave does what is left to do with the output when the last command has ended, and returns how we are to end.
func (v *supervisor) leave() Exit {
	if v.cut {
		for _, r := range v.relays {
			if !isClosed(r.caught) {
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
		return exitBy(v.cutBy)
	case v.exit.Code != 0:
		v.exit.group = v.keyed
		return v.exit
	case v.outputLost.Load():
		return Exit{Code: ExitFailed}
	case slices.ContainsFunc(v.streams.relays, func(r *relay) bool { return isClosed(r.stopped) && brokenPipe(r.lost) }):
		return Exit{Code: exitSignal + int(unix.SIGPIPE)}
	}
	return v.exit
}

// handOver has another process pass on what is written from now on, where a process that the command left still
// can write. As process 1 we end all of them with us.
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
			// A terminal that takes nothing: writing to it can't be interrupted.
		}
	}
	if len(left) == 0 {
		return
	}
	var err error
	if os.Getpid() != 1 {
		if err = startOutput(left); err == nil {
			return
		}
		v.Log.Warn().Err(err).Msg("later output of remaining processes is lost")
	}
	for _, r := range left {
		r.close(r.out.resume())
	}
}
