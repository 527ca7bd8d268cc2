//go:build !linux

package inject

import "syscall"

// Replace turns this process into the command: same pid, nothing of us left. Of the signals that were
// ignored when we started, HUP and INT are ignored in the command: Go's runtime leaves these two alone.
// It returns only when the kernel refuses, with a *StartError.
func Replace(c Command, _ *Signals) error {
	return startError(c.Path, syscall.Exec(c.Path, c.Args, c.Env))
}
