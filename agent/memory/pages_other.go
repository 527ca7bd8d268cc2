//go:build !linux

package memory

import "runtime/debug"

// allocate returns n zeroed bytes of the heap.
func allocate(n int) ([]byte, string) { return make([]byte, n), heap }

func release([]byte, string) {}

// Harden keeps the heap small, which is all that it can do on this system.
func Harden() error {
	debug.SetMemoryLimit(heapLimit)
	return nil
}
