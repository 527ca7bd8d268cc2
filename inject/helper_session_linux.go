package inject

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sessionHelper is the argument of the helper that leads a session on a pty. It is what ps shows.
const sessionHelper = "(terminal)"

// sessionHelperMain starts a command and does what the supervisor orders until that closes the socket.
func sessionHelperMain() error {
	// The kernel ties the signal that the command gets at our death to this thread.
	runtime.LockOSThread()
	if err := beHelper(); err != nil {
		return err
	}
	// It is our controlling terminal; open, it would keep the pty from ending.
	if err := unix.Dup3(2, 1, 0); err != nil {
		return fmt.Errorf("close the pty: %w", err)
	}
	var order sessionOrder
	fds, err := receive(0, &order)
	if err != nil || order.Start == nil {
		return fmt.Errorf("no command: %w", err)
	}
	pid, err := order.Start.start(fds)
	// What the command has inherited, and we have with it, isn't ours to hold.
	_ = unix.CloseRange(3, ^uint(0), 0)
	outlast()
	if err != nil {
		return send(0, sessionEvent{Errno: errnoOf(err)})
	}
	if err := send(0, sessionEvent{PID: pid}); err != nil {
		return err
	}
	go reportStatus(pid)
	for {
		var order sessionOrder
		if _, err := receive(0, &order); err != nil {
			return nil //nolint:nilerr // the supervisor has gone
		}
		if order.Foreground != 0 {
			setForeground(order.Foreground)
		}
		if order.Continue != 0 {
			_ = unix.Kill(-order.Continue, unix.SIGCONT)
		}
		if order.Reap {
			_, _ = unix.Wait4(pid, nil, 0, nil)
			if err := send(0, sessionEvent{Reaped: true}); err != nil {
				return err
			}
		}
	}
}

// start starts the command with the streams that came along.
func (c *sessionCommand) start(fds []int) (pid int, err error) {
	var files [3]uintptr
	for i := range files {
		files[i] = ^uintptr(0)
		if !c.Closed[i] {
			if len(fds) == 0 {
				return 0, unix.EBADF
			}
			files[i], fds = uintptr(fds[0]), fds[1:]
		}
	}
	command := Command{Path: string(c.Path), asks: c.Asks}
	for _, arg := range c.Args {
		command.Args = append(command.Args, string(arg))
	}
	for _, entry := range c.Env {
		command.Env = append(command.Env, c.naming(string(entry)))
	}
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: c.Death}
	if c.Foreground {
		if tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
			attr.Foreground, attr.Ctty = true, tty
		}
	}
	return spawn(command, files, attr)
}

// naming has a variable that names the supervisor name us, and so, by spawn, the command.
func (c *sessionCommand) naming(entry string) string {
	name, value, _ := strings.Cut(entry, "=")
	if own := ownID(name, c.Names); own != "" && own == value {
		return name + "=" + ownID(name, os.Getpid())
	}
	return entry
}

// setForeground puts a process group in our terminal's foreground. We may from the background, since we ignore TTOU.
func setForeground(group int) {
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(tty) }()
	_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group)
}

// reportStatus reports each stop of the command, and its end, which it leaves to be reaped.
func reportStatus(pid int) {
	// The parts of a siginfo_t that SIGCHLD has, and the values of its code.
	// Source: sigaction(2), "The siginfo_t argument to a SA_SIGINFO handler".
	type childInfo struct {
		_, _, code, _, _, _ int32
		status              int32
	}
	const exited, stopped = 1, 5
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		child := (*childInfo)(unsafe.Pointer(&info))
		event := sessionEvent{Ended: true, Status: uint32(child.status & 0x7f)}
		switch child.code {
		case exited:
			event.Status = uint32(child.status&0xff) << 8
		case stopped:
			event = sessionEvent{Status: uint32(child.status)<<8 | 0x7f}
			// So that it isn't seen again; it may have been continued meanwhile.
			if unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG, nil) != nil {
				continue
			}
		}
		if send(0, event) != nil || event.Ended {
			return
		}
	}
}

// errnoOf is the kernel's reason not to start a command.
func errnoOf(err error) syscall.Errno {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return unix.EINVAL
}
