package goroutine_test

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/internal/goroutine"
)

func TestGo(t *testing.T) {
	done := make(chan struct{})
	goroutine.Go(func() { close(done) })
	<-done
}

// Once it is reserved, a stack of 16 KiB is used without copying it.
func TestReserveStack(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("ReserveStack does nothing here")
	}
	moved := make(chan bool)
	for _, reserve := range []bool{false, true} {
		go func() {
			if reserve {
				goroutine.ReserveStack()
			}
			var here byte
			before := address(&here)
			deep(64) // 16 KiB
			moved <- address(&here) != before
		}()
		if got := <-moved; got == reserve {
			t.Errorf("reserved: %t; moved: %t", reserve, got)
		}
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
