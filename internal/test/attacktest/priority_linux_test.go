package attacktest

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeIdle starts this program again so that all of its threads use only the time of the processors that nobody else wants: an
// attacker has its own. It returns if that is already so.
func becomeIdle() error {
	const done = loopVariable + "_IDLE"
	if os.Getenv(done) != "" {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), done+"=1"))
}
