//go:build amd64 || arm64

package goroutine_test

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/internal/goroutine"
)

// Once it is reserved, a stack of 16 KiB is used without copying it.
func TestReserveStack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection shrinks stacks
	moved := make(chan bool)
	go func() {
		goroutine.ReserveStack()
		var here byte
		before := address(&here)
		deep(64) // 16 KiB
		moved <- address(&here) != before
	}()
	if <-moved {
		t.Error("the stack was copied")
	}
}

// address returns where b is, without making it escape to the heap.
//
//go:noinline
func address(b *byte) uintptr { return uintptr(unsafe.Pointer(b)) }

// deep uses n frames of about 256 bytes.
//
//go:noinline
func deep(n int) byte {
	var frame [256]byte
	if n > 0 {
		frame[n] = deep(n - 1)
	}
	return frame[n/2]
}
