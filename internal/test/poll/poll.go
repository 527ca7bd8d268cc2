// Package poll waits in tests for results of other goroutines or processes.
package poll

import (
	"testing"
	"time"
)

// Until calls done repeatedly until it returns true. If it is still false after limit, the test fails with what in
// its message. Only failures take the whole limit, so choose one that suffices on a busy machine.
func Until(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	if !Within(limit, done) {
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// Within is like Until for callers that report the failure themselves: it returns false if done is still false
// after limit. Its delay between calls grows from 1 ms to 50 ms.
func Within(limit time.Duration, done func() bool) bool {
	for begun := time.Now(); !done(); {
		passed := time.Since(begun)
		if passed > limit {
			return false
		}
		<-time.After(min(max(passed/20, time.Millisecond), 50*time.Millisecond))
	}
	return true
}
