//go:build !linux

package attacktest

import "syscall"

// becomeIdle gives this process a low priority: an attacker has its own processors.
func becomeIdle() error { return syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19) }
