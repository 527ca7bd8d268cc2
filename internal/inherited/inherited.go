// Package inherited is what this process was started with and Go's runtime changes before main: which
// signals are ignored and which are blocked, which standard streams are closed, and how many files may be
// open. A command that takes this process's place, or is started by it, is owed them unchanged.
//
// On Linux they are noted before the runtime starts (entry_linux_*.s; entry_linux_cgo.c where cgo is on), in
// every build: no linker flag is needed. See docs/adr/0012-signals.md.
package inherited

import "syscall"

// Signals is a set of signals: bit n-1 is signal n.
type Signals uint64

// Set is the set of some signals.
func Set(some ...syscall.Signal) (s Signals) {
	for _, n := range some {
		s |= 1 << (n - 1)
	}
	return s
}

// Has reports whether n is in the set.
func (s Signals) Has(n syscall.Signal) bool { return s&(1<<(n-1)) != 0 }
