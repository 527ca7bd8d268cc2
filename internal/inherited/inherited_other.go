//go:build !linux

package inherited

import (
	"os/signal"
	"syscall"
)

// Noted reports whether the state at the start is known. Here only that HUP and INT were ignored is: the
// runtime leaves these as they are.
func Noted() bool { return false }

// Ignored is the signals that were ignored.
func Ignored() Signals {
	var s Signals
	for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(n) {
			s |= Set(n)
		}
	}
	return s
}

// Act does nothing here: what the runtime does at a signal stays.
func Act() {}

// EndByFaults does nothing here: FPE, SEGV and BUS print stacks, even if a process sends them.
func EndByFaults() {}
