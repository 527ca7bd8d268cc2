//go:build !linux

package signal

// Last is the last signal.
const Last = 31

// firstRealTime is out of range: there are no real-time signals.
const firstRealTime = Last + 1

// Queue has no signals: miosa-env catches them on Linux only.
type Queue struct{}
