package peer

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OfFD returns the peer of a connected socket, given its file descriptor.
func OfFD(fd int) (Peer, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: c.Uid, GID: c.Gid, PID: c.Pid}, nil
}

// groups returns the supplementary groups that the peer had when it connected.
func groups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		// The kernel writes at most size bytes to groups, and then size itself. It keeps neither pointer.
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}

// unitOfProcess reads the unit of the peer. A file descriptor of the process makes sure that its id wasn't reused by
// another process meanwhile.
func unitOfProcess(fd, pid int) (string, error) {
	if pid <= 0 {
		return "", errors.New("the client is in another process id namespace")
	}
	process, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) { // Linux before 6.5
		process, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil {
		return "", fmt.Errorf("open the client's process: %w", err)
	}
	defer func() { _ = unix.Close(process) }()
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	ended := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 0); err != nil || n != 0 {
		return "", errors.New("the client has ended")
	}
	return unitOf(string(cgroups)), nil
}
