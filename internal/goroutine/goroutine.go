// Package goroutine starts work that should run at once and next to its caller, and grows stacks in advance.
package goroutine

// Go calls f on another goroutine, like a go statement. The goroutine of a go statement is the next of its own thread, and other
// threads take it only after a pause of some 50 µs: that of Go doesn't wait for that.
func Go(f func()) {
	go func() {
		ReserveStack()
		f()
	}()
	go func() {}() // the next of this thread in its place
}
