// Package inherited has the state that this process inherited and that Go's runtime changes before main: ignored and blocked
// signals, closed standard streams, and the limit on open files. A command that replaces this process, or is started by it,
// must inherit them unchanged.
//
// On Linux they are recorded before the runtime starts (entry_linux_*.s; with cgo, entry_linux_cgo.c), in every build and
// without a linker flag. See docs/adr/0012-signals.md.
package inherited

import (
	"os"
	"os/signal"
	"syscall"
)

// Signals is a set of signals: bit n-1 is signal n.
type Signals uint64

// Blockable are the signals that a thread may block while others run Go: like the C library, all but 32 and 33. Go's runtime sends 33
// to each thread to run a system call on all of them, and waits until all have.
const Blockable = ^Signals(0) &^ (1<<31 | 1<<32)

// Set returns a set of signals.
func Set(some ...syscall.Signal) (s Signals) {
	for _, n := range some {
		s |= 1 << (n - 1)
	}
	return s
}

// Has reports whether n is in the set.
func (s Signals) Has(n syscall.Signal) bool { return s&(1<<(n-1)) != 0 }

// ignoredByRuntime returns which of HUP and INT are ignored: the runtime doesn't change these.
func ignoredByRuntime() (s Signals) {
	for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(n) {
			s |= Set(n)
		}
	}
	return s
}

// OutliveReaders keeps a daemon running when the reader of its standard output or error exits: writes fail then, and PIPE
// doesn't end the process. Unlike with signal.Ignore, its children start with PIPE's default action.
func OutliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
