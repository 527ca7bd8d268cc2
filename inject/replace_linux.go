package inject

import "syscall"

// Replace turns this process into the command: same pid, nothing of us left. What was ignored when
// we started is ignored in the command. It returns only when the kernel refuses, with a *StartError.
func Replace(c Command) error {
	ignore(startedIgnoring)
	return startError(c.Path, syscall.Exec(c.Path, c.Args, c.Env))
}
