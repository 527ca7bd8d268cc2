package inject

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keyboard passes what is typed at a terminal to a pty, on a goroutine.
type keyboard struct {
	pty      *ptyPair
	master   int // ours to close
	wake     int // an eventfd
	stopping atomic.Bool
	stopped  chan struct{}
}

func newKeyboard(p *ptyPair) (*keyboard, error) {
	k := &keyboard{pty: p, stopped: make(chan struct{})}
	var err error
	if k.master, err = dup(p.master); err != nil {
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
	for k.wait(k.pty.keysFrom, unix.POLLIN, -1) {
		if !k.pty.mayRead() {
			// Somebody has taken the foreground without stopping us: reading would do that now.
			k.wait(-1, 0, 200*time.Millisecond)
			continue
		}
		n, err := unix.Read(k.pty.keysFrom, buffer)
		switch {
		case n > 0:
			if !k.press(buffer[:n]) {
				return
			}
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		default:
			return
		}
	}
}

// wait blocks until a descriptor is ready or the time is over, and reports false once the keyboard is to stop. A
// negative time is for ever.
func (k *keyboard) wait(fd int, events int16, atMost time.Duration) bool {
	for !k.stopping.Load() {
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(k.wake), Events: unix.POLLIN}}
		timeout := -1
		if atMost >= 0 {
			timeout = int(atMost.Milliseconds())
		}
		_, err := unix.Poll(fds, timeout)
		switch {
		case errors.Is(err, unix.EINTR):
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
	k.signal(keys)
	for len(keys) > 0 {
		if !k.wait(k.master, unix.POLLOUT, -1) {
			return false
		}
		n, err := unix.Write(k.master, keys)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return false
		}
		keys = keys[max(n, 0):]
	}
	return true
}

// signal has our own process group get the signals of keys, as without us, if others are in it: the script that has
// started us, or the rest of a pipeline. The command gets them from the pty.
func (k *keyboard) signal(keys []byte) {
	modes, err := unix.IoctlGetTermios(k.master, unix.TCGETS) // of the slave
	if err != nil || modes.Lflag&unix.ISIG == 0 || k.pty.terminal == nil || aloneInGroup() && !inPipeline() {
		return
	}
	// A command that has just been started may run before its process group is known here.
	if group := k.pty.group(); group != 0 && group != k.pty.foreground() {
		return
	}
	for _, key := range []struct {
		at  int
		sig syscall.Signal
	}{{unix.VINTR, unix.SIGINT}, {unix.VQUIT, unix.SIGQUIT}} {
		if b := modes.Cc[key.at]; b != 0 && bytes.IndexByte(keys, b) >= 0 {
			_ = unix.Kill(0, key.sig)
		}
	}
}

// typeAhead passes on what was typed before. The terminal has shown it already, so the pty doesn't.
func (k *keyboard) typeAhead(keys []byte) {
	if len(keys) == 0 {
		return
	}
	modes, err := unix.IoctlGetTermios(k.master, unix.TCGETS) // of the slave
	if err != nil {
		return
	}
	silent := *modes
	silent.Lflag &^= unix.ECHO | unix.ECHONL
	_ = unix.IoctlSetTermios(k.master, unix.TCSETS, &silent)
	_, _ = unix.Write(k.master, keys) // what a pty doesn't take at once, no terminal would have taken
	k.settle()
	_ = unix.IoctlSetTermios(k.master, unix.TCSETS, modes)
}

// settle has the kernel take what was written to the pty as typed.
func (k *keyboard) settle() {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(k.pty.slave), Events: unix.POLLIN}}, 0)
}

// readLines reads what a terminal has of whole lines, as keys that make the same of a pty with the same modes: where
// end of file was typed it has that key, and what was typed after the key that takes the next one literally has that too.
func readLines(fd int, modes *unix.Termios) []byte {
	if modes.Lflag&unix.ICANON == 0 {
		return nil
	}
	var keys []byte
	buffer := make([]byte, 4096) // a line is no longer
	for ready(fd) {
		n, err := unix.Read(fd, buffer)
		if err != nil {
			break
		}
		for _, b := range buffer[:n] {
			if special(b, modes) {
				keys = append(keys, modes.Cc[unix.VLNEXT])
			}
			keys = append(keys, b)
		}
		if n == 0 || buffer[n-1] != '\n' && !ends(buffer[n-1], modes) {
			keys = append(keys, modes.Cc[unix.VEOF])
		}
	}
	return keys
}

// readReady reads what a terminal has, be it a part of a line.
func readReady(fd int) []byte {
	buffer := make([]byte, 4096)
	if !ready(fd) {
		return nil
	}
	n, _ := unix.Read(fd, buffer)
	return buffer[:max(n, 0)]
}

func ready(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLIN != 0
}

// special reports whether a key means something else than itself.
func special(b byte, modes *unix.Termios) bool {
	if b == '\n' || modes.Lflag&unix.IEXTEN == 0 {
		return false
	}
	return b == '\r' || b != 0 && bytes.IndexByte([]byte{
		modes.Cc[unix.VINTR], modes.Cc[unix.VQUIT], modes.Cc[unix.VSUSP], modes.Cc[unix.VSTART], modes.Cc[unix.VSTOP],
		modes.Cc[unix.VERASE], modes.Cc[unix.VKILL], modes.Cc[unix.VWERASE], modes.Cc[unix.VREPRINT],
		modes.Cc[unix.VLNEXT], modes.Cc[unix.VEOF],
	}, b) >= 0
}

// ends reports whether a key ends a line, beside the line feed.
func ends(b byte, modes *unix.Termios) bool {
	return b != 0 && (b == modes.Cc[unix.VEOL] || b == modes.Cc[unix.VEOL2])
}
