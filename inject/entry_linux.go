package inject

import (
	"os"
	"os/signal"
	"syscall"
)

// ignoredMask has bit n-1 set when signal n was ignored as this program started. It stays zero in a
// build without the entry point of entry_linux_*.s.
var ignoredMask uint64

// startedIgnoring lists the signals the program was started with ignored: nohup does that to HUP,
// systemd to PIPE, a shell's background job to INT and QUIT. A command inherits them, so it must
// find them ignored, though Go's runtime has put its own handlers in their place.
var startedIgnoring = ignoredAtStart()

func ignoredAtStart() []os.Signal {
	var ignored []os.Signal
	for n := syscall.Signal(1); n <= 64; n++ {
		if ignoredMask&(1<<(n-1)) != 0 {
			ignored = append(ignored, n)
		}
	}
	if ignoredMask == 0 { // the two that Go leaves alone, and so can tell of
		for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
			if signal.Ignored(n) {
				ignored = append(ignored, n)
			}
		}
	}
	return ignored
}
