//go:build !amd64 && !arm64

package goroutine

// ReserveStack does nothing here.
func ReserveStack() {}
