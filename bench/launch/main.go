// Launch runs a command once and prints its wall time in nanoseconds, from before the fork to after the wait, its peak resident
// memory in bytes, and its wait status, 0 for success.
//
//	launch COMMAND [ARG...]
//
// The kernel includes the memory of the starting process in the command's peak. So this is a separate, small program with few
// imports.
package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	null, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{uintptr(null), uintptr(null), 2}}
	var status syscall.WaitStatus
	var usage syscall.Rusage
	start := time.Now()
	pid, err := syscall.ForkExec(os.Args[1], os.Args[1:], attr)
	if err != nil {
		panic(err)
	}
	for {
		_, err = syscall.Wait4(pid, &status, 0, &usage)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	wall := time.Since(start)
	if err != nil {
		panic(err)
	}
	peak := usage.Maxrss
	if runtime.GOOS != "darwin" {
		peak *= 1024
	}
	line := strconv.FormatInt(wall.Nanoseconds(), 10) + " " + strconv.FormatInt(peak, 10) + " " + strconv.Itoa(int(status)) + "\n"
	if _, err := os.Stdout.WriteString(line); err != nil {
		panic(err)
	}
}
