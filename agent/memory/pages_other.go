//go:build !linux

package memory

import "runtime/debug"

// allocate gives n zeroed bytes. Nothing better than the heap is known here.
func allocate(n int) ([]byte, string) { return make([]byte, n), heap }

func release([]byte, string) {}

// Harden has the heap collected early rather than late. There is nothing else it can do here.
func Harden() error {
	debug.SetMemoryLimit(heapLimit)
	return nil
}
