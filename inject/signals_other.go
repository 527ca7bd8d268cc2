//go:build !linux

package inject

// The signals end at 31 here: none is a real-time one.
const firstRealTime, lastRealTime = 32, 31

// Signals is nothing here: only on Linux does anything of us stay to catch them.
type Signals struct{}
