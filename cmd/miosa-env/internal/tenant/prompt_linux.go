package tenant

import "golang.org/x/sys/unix"

const (
	// maxTyped is the longest line that a terminal gives: what goes beyond it, the kernel drops.
	maxTyped = 4094
	longLine = "4000"

	getTermios, setTermios = unix.TCGETS, unix.TCSETS
)

// dropInput drops what was typed and not read.
func dropInput(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }

// goesOn tells whether there is more to read.
func goesOn(fd int) bool {
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, pasteGap)
	return err == nil && n > 0 && ready[0].Revents&unix.POLLIN != 0
}
