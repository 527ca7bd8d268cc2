//go:build !linux

package inherited

// Noted reports whether the state at the start is known. On this system only the state of HUP and INT is.
func Noted() bool { return false }

// Ignored returns the signals that were ignored.
func Ignored() Signals { return ignoredByRuntime() }

// Act does nothing on this system.
func Act() {}

// EndByFaults does nothing on this system.
func EndByFaults() {}
