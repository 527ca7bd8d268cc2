package tenant

import "golang.org/x/sys/unix"

const (
	// maxTyped is the longest line that a terminal passes on: the kernel refuses the rest with a beep.
	maxTyped = 1022
	longLine = "1000"

	getTermios, setTermios = unix.TIOCGETA, unix.TIOCSETA
)

// flushInput drops unread input.
func flushInput(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, unix.TCIFLUSH) }

// hasInput reports whether there is more to read. Poll doesn't support terminals on this system.
func hasInput(fd int) bool {
	var ready unix.FdSet
	ready.Set(fd)
	gap := unix.NsecToTimeval(pasteGap * 1e6)
	n, err := unix.Select(fd+1, &ready, nil, nil, &gap)
	return err == nil && n > 0
}
