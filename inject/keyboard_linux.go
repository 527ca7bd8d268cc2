package inject

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// keyboard passes what is typed at a terminal to a pty's master, on a goroutine. The kernel ignores the pty's stop key,
// for it would stop a session that has no shell to continue it; but we are there to do so, so suspend is told of it.
type keyboard struct {
	terminal, master int // the terminal is not closed here
	suspend          chan<- struct{}
	wake             int // an eventfd
	stopping         atomic.Bool
	stopped          chan struct{}
}

func newKeyboard(terminal, master int, suspend chan<- struct{}) (*keyboard, error) {
	k := &keyboard{terminal: terminal, suspend: suspend, stopped: make(chan struct{})}
	var err error
	if k.master, err = dup(master); err != nil {
		return nil, err
	}
	if k.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		_ = unix.Close(k.master)
		return nil, fmt.Errorf("read the terminal: %w", err)
	}
	return k, nil
}

// stop returns once no more keys are read.
func (k *keyboard) stop() {
	k.stopping.Store(true)
	_, _ = unix.Write(k.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-k.stopped
	_ = unix.Close(k.wake)
}

func (k *keyboard) run() {
	defer close(k.stopped)
	defer func() { _ = unix.Close(k.master) }()
	buffer := make([]byte, 4096)
	for k.wait(k.terminal, unix.POLLIN) {
		n, err := unix.Read(k.terminal, buffer)
		switch {
		case n > 0:
			if !k.press(buffer[:n]) {
				return
			}
		case err == unix.EINTR, err == unix.EAGAIN:
		default:
			return
		}
	}
}

// wait blocks until a descriptor is ready, and reports false once the keyboard is to stop.
func (k *keyboard) wait(fd int, events int16) bool {
	for !k.stopping.Load() {
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(k.wake), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[1].Revents != 0:
			return false
		default:
			return true
		}
	}
	return false
}

// press passes keys on. A pty that is full, since the command reads nothing, holds it up.
func (k *keyboard) press(keys []byte) bool {
	modes, err := unix.IoctlGetTermios(k.master, unix.TCGETS) // of the slave
	stop := err == nil && modes.Lflag&unix.ISIG != 0 && bytes.IndexByte(keys, modes.Cc[unix.VSUSP]) >= 0
	for len(keys) > 0 {
		if !k.wait(k.master, unix.POLLOUT) {
			return false
		}
		n, err := unix.Write(k.master, keys)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
		case err != nil:
			return false
		}
		keys = keys[max(n, 0):]
	}
	if stop {
		select {
		case k.suspend <- struct{}{}:
		default:
		}
	}
	return true
}
