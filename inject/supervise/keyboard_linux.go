package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// keyboard copies keys from a terminal to a pty, on its own goroutine.
type keyboard struct {
	pty     *ptyPair
	master  int // a copy, closed by run
	wake    int // an eventfd, readable when run is to stop
	stopped chan struct{}
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

// stop stops the goroutine and waits for it.
func (k *keyboard) stop() {
	raiseEvent(k.wake)
	<-k.stopped
	_ = unix.Close(k.wake)
}

func (k *keyboard) run() {
	defer close(k.stopped)
	defer func() { _ = unix.Close(k.master) }()
	buffer := make([]byte, 4096)
	for k.wait(k.pty.keysFrom, unix.POLLIN, -1) {
		if !k.pty.mayRead() {
			// Another process took the foreground without stopping this one, which reading would do now.
			k.wait(-1, 0, 200)
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

// wait blocks until a descriptor is ready or a timeout in milliseconds, -1 for none. It returns false if the keyboard is
// stopping.
func (k *keyboard) wait(fd int, events int16, timeout int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(k.wake), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, timeout); !errors.Is(err, unix.EINTR) {
			return err == nil && fds[1].Revents == 0
		}
	}
}

// press writes keys to the pty. It blocks while the pty is full because the command reads nothing.
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

// signal sends the signals of keys to this process's group, as the terminal would: to this process, whose restart of the
// command they cancel, and to the script that started it, or the rest of a pipeline. The command gets the signals from the pty.
func (k *keyboard) signal(keys []byte) {
	modes, err := unix.IoctlGetTermios(k.master, unix.TCGETS) // of the slave
	if err != nil || modes.Lflag&unix.ISIG == 0 || k.pty.terminal == nil {
		return
	}
	// The group is 0 if the command has just been started.
	if group := int(k.pty.command.Load()); group != 0 && group != k.pty.foreground() {
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

// typeAhead writes keys that were typed before. The pty doesn't echo them, as the terminal already has.
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
	_, _ = unix.Write(k.master, keys) // a terminal's buffer isn't larger than a pty's
	// Polling makes the kernel process the keys with these modes.
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(k.pty.slave), Events: unix.POLLIN}}, 0)
	_ = unix.IoctlSetTermios(k.master, unix.TCSETS, modes)
}

// readLines reads the complete lines that a terminal has, as keys that have the same effect on a pty with the same modes:
// it adds the keys for end of file and for taking the next key literally.
func readLines(fd int, modes *unix.Termios) []byte {
	if modes.Lflag&unix.ICANON == 0 {
		return nil
	}
	var keys []byte
	buffer := make([]byte, 4096) // the maximum length of a line
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

// readReady reads what a terminal has, including incomplete lines.
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

// special reports whether a terminal acts on a key.
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

// ends reports whether a key other than the line feed ends a line.
func ends(b byte, modes *unix.Termios) bool {
	return b != 0 && (b == modes.Cc[unix.VEOL] || b == modes.Cc[unix.VEOL2])
}
