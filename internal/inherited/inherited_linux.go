package inherited

import "syscall"

// Recorded by the entry point: noted is 1, ignored and blocked are sets of signals, bit n of closed means that file descriptor
// n was closed, files is the soft and the hard limit of open files. ordered is 1 once it has blocked real-time signals.
var (
	noted, ignored, blocked, closed, ordered uint64
	files                                    [2]uint64
)

// Noted reports whether the state at the start is known. If a release of Go starts programs in another way, only the state of
// HUP and INT is known.
func Noted() bool { return noted == 1 }

// Ignored returns the signals that were ignored.
func Ignored() Signals {
	if Noted() {
		return Signals(ignored)
	}
	return ignoredByRuntime()
}

// Blocked returns the signals that were blocked.
func Blocked() Signals { return Signals(blocked) }

// Ordered reports whether all threads of this process block real-time signals, those that the runtime starts later too, except 34.
// With glibc, or without cgo, that is so if an argument of the process is "run". Several threads that receive signals would reorder
// them.
func Ordered() bool { return ordered == 1 }

// Closed reports whether standard stream fd, 0 to 2, was closed. The runtime has opened /dev/null instead.
func Closed(fd int) bool { return fd >= 0 && fd <= 2 && closed&(1<<fd) != 0 }

// Files returns the limit on open files, or nil if it isn't known. The runtime has raised the soft limit.
func Files() *syscall.Rlimit {
	if !Noted() {
		return nil
	}
	return &syscall.Rlimit{Cur: files[0], Max: files[1]}
}
