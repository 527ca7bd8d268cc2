package agent

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// unitOfPeer asks the kernel who connected, and in which unit of systemd's that runs.
func unitOfPeer(c *net.UnixConn) (p peer, unit string, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, "", err
	}
	controlErr := raw.Control(func(fd uintptr) {
		if p, err = peerOf(int(fd)); err == nil && p.uid == 0 { // of others it doesn't matter
			unit, err = unitOfProcess(int(fd), int(p.pid))
		}
	})
	return p, unit, errors.Join(controlErr, err)
}

// unitOfProcess holds the process by a descriptor meanwhile: the number of one that ended may be another's by then.
func unitOfProcess(fd, pid int) (string, error) {
	if pid <= 0 {
		return "", errors.New("the client is in another process id namespace")
	}
	held, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) { // a kernel before 6.5
		held, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil {
		return "", fmt.Errorf("hold the process that asks: %w", err)
	}
	defer func() { _ = unix.Close(held) }()
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	ended := []unix.PollFd{{Fd: int32(held), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 0); err != nil || n != 0 {
		return "", errors.New("the client has ended")
	}
	return unitOf(string(cgroups)), nil
}
