// Floor-socket is the smallest Go program that queries a local service and then starts a command: it sends one request over a
// Unix socket and replaces itself with the command. It is the floor of miosa-env run with the agent.
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
