package inherited

import (
	"os/signal"
	"syscall"
)

// What the entry point noted: 1 in noted, sets of signals in ignored and blocked, bit n in closed where
// file descriptor n was closed, and the soft and the hard limit of open files.
var (
	noted, ignored, blocked, closed uint64
	files                           [2]uint64
)

// Noted reports whether the state at the start is known. It isn't where a release of Go starts programs
// in another way: then only that HUP and INT were ignored is known, since the runtime leaves these as they are.
func Noted() bool { return noted == 1 }

// Ignored is the signals that were ignored.
func Ignored() Signals {
	if Noted() {
		return Signals(ignored)
	}
	var s Signals
	for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(n) {
			s |= Set(n)
		}
	}
	return s
}

// Blocked is the signals that were blocked.
func Blocked() Signals { return Signals(blocked) }

// Closed reports whether standard stream fd, one of 0 to 2, was closed. The runtime has opened /dev/null
// in its place.
func Closed(fd int) bool { return fd >= 0 && fd <= 2 && closed&(1<<fd) != 0 }

// Files is the limit of open files, whose soft part the runtime has raised; nil where it isn't known.
func Files() *syscall.Rlimit {
	if !Noted() {
		return nil
	}
	return &syscall.Rlimit{Cur: files[0], Max: files[1]}
}
