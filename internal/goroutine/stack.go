//go:build amd64 || arm64

package goroutine

// ReserveStack grows the stack of the calling goroutine to 32 KiB, unless it is at least that large. A stack begins with a few KiB
// and doubles each time that it is full, which takes longer the deeper the calls are.
func ReserveStack()
