// Floor-exec is the least that a Go program can do to start a command: it becomes it.
//
//	floor-exec COMMAND [ARG...]
package main

import (
	"os"
	"syscall"
)

func main() {
	if err := syscall.Exec(os.Args[1], os.Args[1:], os.Environ()); err != nil {
		panic(err)
	}
}
