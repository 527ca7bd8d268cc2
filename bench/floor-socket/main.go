// Floor-socket is the least that a Go program can do to ask a local service something and then start a
// command: one question over a unix socket, and it becomes the command. It is what miosa-env run through
// the agent is measured against.
//
//	floor-socket PATH COMMAND [ARG...]
package main

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

func main() {
	c, err := net.Dial("unix", os.Args[1]) //nolint:gosec,noctx // the least code there is; the path is the runner's, and exec ends it all
	if err != nil {
		panic(err)
	}
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
		panic(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		panic(err)
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") && !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		panic(string(answer))
	}
	if err := syscall.Exec(os.Args[2], os.Args[2:], os.Environ()); err != nil {
		panic(err)
	}
}
