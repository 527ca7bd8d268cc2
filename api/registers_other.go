//go:build !linux

package api

// holdSignals does nothing here.
func holdSignals() (resume func()) { return func() {} }
