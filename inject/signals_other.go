//go:build !linux

package inject

// The signals end at 31 here: none is a real-time one.
const firstRealTime, lastRealTime = 32, 31
