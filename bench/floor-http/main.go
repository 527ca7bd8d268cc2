// Floor-http is the smallest Go program that fetches something and then starts a command: it sends one GET with net/http and
// replaces itself with the command. It is the floor of miosa-env run.
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
