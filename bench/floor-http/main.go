// Floor-http is the least that a Go program can do to fetch something and then start a command: one
// GET with net/http, and it becomes the command. It is what miosa-env run is measured against.
//
//	floor-http URL COMMAND [ARG...]
package main

import (
	"io"
	"net/http"
	"os"
	"syscall"
)

func main() {
	answer, err := http.Get(os.Args[1]) //nolint:bodyclose,gosec,noctx // the least code there is; the URL is the runner's, and exec ends it all
	if err != nil {
		panic(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		panic(err)
	}
	if answer.StatusCode != http.StatusOK {
		panic(answer.Status)
	}
	if err := syscall.Exec(os.Args[2], os.Args[2:], os.Environ()); err != nil {
		panic(err)
	}
}
