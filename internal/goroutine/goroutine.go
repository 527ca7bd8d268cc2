// Package goroutine starts work that should run at once and next to its caller, and grows stacks in advance.
package goroutine

// Go calls f on another goroutine, like a go statement, for work that should run at the same time as the caller's. The goroutine of
// a go statement runs next on the same thread, and on Linux others take it only after some 50 µs. That of Go can be taken at once;
// while all processors are busy, it runs later.
func Go(f func()) {
	go func() {
		ReserveStack()
		f()
	}()
	go func() {}() // runs next on this thread instead
}
