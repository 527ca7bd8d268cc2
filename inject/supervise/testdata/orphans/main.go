// Orphans leaves 10,000 orphans: a hundred processes, each with a hundred children that it doesn't wait for.
// Then it makes the file it is given, and ends with 42 when it is asked to by TERM.
//
// It is a program of its own, and imports little, because what is forked is copied. The processes never execute
// anything, so they may do nothing but system calls.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	for range 100 {
		parent := fork()
		if parent == 0 {
			for range 100 {
				if fork() == 0 {
					end()
				}
			}
			end()
		}
		if _, err := syscall.Wait4(int(parent), nil, 0, nil); err != nil {
			os.Exit(1)
		}
	}
	if os.WriteFile(os.Args[1], nil, 0o600) != nil {
		os.Exit(1)
	}
	<-asked
	os.Exit(42)
}

func fork() uintptr {
	pid, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	return pid
}

func end() { syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0) }
