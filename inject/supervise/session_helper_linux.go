package supervise

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/command"
)

// sessionHelper is the argument of the helper that leads a session on a pty. ps shows it.
const sessionHelper = "(terminal)"

// sessionHelperMain starts a command and follows the supervisor's orders until the socket is closed.
func sessionHelperMain() error {
	// The kernel ties the command's parent-death signal to this thread.
	runtime.LockOSThread()
	if err := becomeHelper(); err != nil {
		return err
	}
	// It stays the controlling terminal; an open descriptor would keep the pty from ending.
	if err := unix.Dup3(2, 1, 0); err != nil {
		return fmt.Errorf("close the pty: %w", err)
	}
	var order sessionOrder
	fds, err := receive(0, &order)
	if err != nil || order.Start == nil {
		return fmt.Errorf("no command: %w", err)
	}
	pid, err := order.Start.start(fds)
	// Close what was inherited for the command.
	_ = unix.CloseRange(3, ^uint(0), 0)
	outlast()
	if err != nil {
		errno, ok := errors.AsType[syscall.Errno](err)
		if !ok {
			errno = unix.EINVAL
		}
		return send(0, sessionEvent{Errno: errno})
	}
	if err := send(0, sessionEvent{PID: pid}); err != nil {
		return err
	}
	go reportStatus(pid)
	for {
		var order sessionOrder
		if _, err := receive(0, &order); err != nil {
			return nil //nolint:nilerr // the supervisor is gone
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

// start starts the command with the streams that were sent.
func (c *sessionCommand) start(fds []int) (pid int, err error) {
	attr := c.Attr
	for i, fd := range attr.Files {
		if fd < 0 {
			continue
		}
		if len(fds) == 0 {
			return 0, unix.EBADF
		}
		attr.Files[i], fds = fds[0], fds[1:]
	}
	run := command.Command{Path: string(c.Path)}
	for _, arg := range c.Args {
		run.Args = append(run.Args, string(arg))
	}
	for _, entry := range c.Env {
		run.Env = append(run.Env, c.rename(string(entry)))
	}
	if attr.Foreground {
		attr.Ctty, err = unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
		attr.Foreground = err == nil
	}
	return run.Start(attr)
}

// rename makes a variable that names the supervisor name this process, which Start replaces by the command.
func (c *sessionCommand) rename(entry string) string {
	name, value, _ := strings.Cut(entry, "=")
	if own := command.OwnID(name, c.Names); own != "" && own == value {
		return name + "=" + command.OwnID(name, os.Getpid())
	}
	return entry
}

// setForeground puts a process group in the terminal's foreground. TTOU is ignored, so this works from the background.
func setForeground(group int) {
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(tty) }()
	_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group)
}

// reportStatus reports each stop of the command, and its end without reaping it.
func reportStatus(pid int) {
	// The fields of a siginfo_t for SIGCHLD, and values of its code.
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
			// Consume it. It may be gone if the command was continued.
			if unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG, nil) != nil {
				continue
			}
		}
		if send(0, event) != nil || event.Ended {
			return
		}
	}
}
