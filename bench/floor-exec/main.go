// Floor-exec is the smallest Go program that starts a command: it replaces itself with it.
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
