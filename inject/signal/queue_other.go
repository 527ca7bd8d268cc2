//go:build !linux

package signal

// Last is the last signal. There are no real-time signals.
const firstRealTime, Last = 32, 31

// Queue has no signals: miosa-env catches them on Linux only.
type Queue struct{}
