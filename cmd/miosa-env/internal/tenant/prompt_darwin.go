package tenant

import "golang.org/x/sys/unix"

const (
	// maxTyped is the longest line that a terminal gives: what goes beyond it, the kernel refuses with a beep.
	maxTyped = 1022
	longLine = "1000"

	getTermios, setTermios = unix.TIOCGETA, unix.TIOCSETA
)

// dropInput drops what was typed and not read.
func dropInput(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, unix.TCIFLUSH) }

// goesOn tells whether there is more to read. Poll isn't for terminals here.
func goesOn(fd int) bool {
	var ready unix.FdSet
	ready.Set(fd)
	gap := unix.NsecToTimeval(pasteGap * 1e6)
	n, err := unix.Select(fd+1, &ready, nil, nil, &gap)
	return err == nil && n > 0
}
