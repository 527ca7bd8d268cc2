// Package poll waits in tests for what another goroutine or process brings about.
package poll

import (
	"testing"
	"time"
)

// Until calls done repeatedly until it returns true. If it is still false after limit, the test fails and names what it
// waited for. The limit is only reached by a failure: choose what a busy machine needs.
func Until(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	if !Within(limit, done) {
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// Within is Until for callers that report the failure themselves: it returns false if done is still false after limit.
// It pauses for 1 ms between calls at first, and for up to 50 ms later.
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
