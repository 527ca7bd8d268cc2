package tenant

import "golang.org/x/sys/unix"

const (
	// maxTyped is the longest line that a terminal passes on: the kernel drops the rest.
	maxTyped = 4094
	longLine = "4000"

	getTermios, setTermios = unix.TCGETS, unix.TCSETS
)

// flushInput drops unread input.
func flushInput(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }

// hasInput reports whether there is more to read.
func hasInput(fd int) bool {
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, pasteGap)
	return err == nil && n > 0 && ready[0].Revents&unix.POLLIN != 0
}
